/*
 * environment.c - what a program and its children can find out about their
 * process: environment [small]
 */
#include "host.h"

#include <dirent.h>
#include <dlfcn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>

/* Ours are known and wanted: the library, the session, the file. */
static bool is_ours(const char *variable)
{
	return !strncmp(variable, "LD_PRELOAD=", 11) || !strncmp(variable, "REQSCOPE_", 9);
}

static void show_environment(const char *what)
{
	size_t n = 0;
	unsigned long sum = 5381;

	for (char **e = environ; e && *e; e++) {
		if (is_ours(*e))
			continue;
		for (const char *p = *e; *p; p++)
			sum = sum * 33 + (unsigned char)*p;
		n++;
	}
	printf("%s: %zu variables, %lx\n", what, n, sum);
}

static void show_lines(const char *what, FILE *from)
{
	char line[4096];

	printf("%s:\n", what);
	while (fgets(line, sizeof(line), from))
		if (!is_ours(line))
			printf("  %s", line);
}

static void show_children(void)
{
	static char *const argv[] = {"env", NULL};
	char *few[] = {"A=1", "B=", NULL};
	int ends[2];

	for (int way = 0; way < 4; way++) {
		MUST(pipe(ends));
		fflush(stdout);
		pid_t pid = (pid_t)MUST(fork());
		if (!pid) {
			dup2(ends[1], 1);
			close(ends[0]);
			close(ends[1]);
			if (way == 0)
				execve("/usr/bin/env", argv, few);
			else if (way == 1)
				execle("/usr/bin/env", "env", NULL, few);
			else if (way == 2)
				execvpe("env", argv, few);
			clearenv();
			putenv((char *)(uintptr_t) "C=3");
			execlp("/usr/bin/env", "env", NULL);
			_exit(1);
		}
		close(ends[1]);
		FILE *file = fdopen(ends[0], "r");
		show_lines("child", file);
		fclose(file);
		show_status("child", pid);
	}
	/* The arguments are passed on as they are. */
	fflush(stdout);
	pid_t pid = (pid_t)MUST(fork());
	if (!pid)
		execl("/bin/sh", "a name", "-c", "echo \"$0|$#|$1|$2\"", "b c", "", "d", NULL);
	show_status("arguments", pid);
}

static int count_entries(const char *path)
{
	DIR *folder = opendir(path);
	int n = 0;

	while (readdir(folder))
		n++;
	closedir(folder);
	return n;
}

static volatile int children;

static void on_child(int signal)
{
	(void)signal;
	children++;
}

/* All that is cheaply found out. */
static void show_process(const char *what)
{
	struct itimerval timer = {0};
	sigset_t mask;
	stack_t stack;
	char folder[4096];
	int blocked = 0, handled = 0;

	printf("-- %s\n", what);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int i = 1; i < 65; i++) {
		struct sigaction action;

		blocked += sigismember(&mask, i) == 1;
		if (i != SIGCHLD && !sigaction(i, NULL, &action))
			handled += action.sa_handler != SIG_DFL;
	}
	printf("signals: %d blocked, %d handled, %d children\n", blocked, handled, children);
	sigpending(&mask);
	printf("pending: %d\n", sigismember(&mask, SIGCHLD));
	sigaltstack(NULL, &stack);
	printf("stack: %x\n", (unsigned)stack.ss_flags);
	getitimer(ITIMER_REAL, &timer);
	printf("timer: %ld\n", timer.it_value.tv_sec);
	printf("threads: %d\n", count_entries("/proc/self/task"));
	printf("descriptors: %d\n", count_entries("/proc/self/fd"));
	printf("folder: %d, mask %o\n", getcwd(folder, sizeof(folder)) != NULL, (unsigned)umask(022));
	printf("dumpable %d, subreaper %d, death signal %d\n", prctl(PR_GET_DUMPABLE),
	       prctl(PR_GET_CHILD_SUBREAPER, folder), prctl(PR_GET_PDEATHSIG, folder));
	SHOW(waitpid(-1, NULL, 0));
	SHOW(waitpid(-1, NULL, __WALL | WNOHANG));
	printf("dlerror: %s\n", dlerror());
	show_environment("environment");
}

/* How much memory the agent takes: told on the side, by a file that the test reads. */
static void tell_memory(void)
{
	const char *path = getenv("MEMORY_FILE");
	char line[200];
	FILE *from, *to;

	if (!path || !(from = fopen("/proc/self/status", "r")) || !(to = fopen(path, "w")))
		return;
	while (fgets(line, sizeof(line), from))
		if (!strncmp(line, "VmRSS", 5) || !strncmp(line, "Rss", 3))
			fputs(line, to);
	fclose(from);
	fclose(to);
}

static void many_connections(void)
{
	enum { MANY = 400 };
	static struct pair p[MANY];
	int from = listener(AF_INET);

	for (int i = 0; i < MANY; i++) {
		p[i] = pair(from);
		ask(p[i].client);
	}
	for (int i = 0; i < MANY; i++)
		serve(p[i].server);
	for (int n = 0; n < 20; n++) {
		for (int i = 0; i < MANY; i++) {
			answered(p[i].client);
			exchange(p[i].client, p[i].server);
			ask(p[i].client);
			serve(p[i].server);
		}
	}
	tell_memory();
	for (int i = 0; i < MANY; i++) {
		answered(p[i].client);
		close_pair(p[i]);
	}
}

static void privileged(void)
{
	int from = listener(AF_INET);
	struct pair p = pair(from);

	exchange(p.client, p.server);
	close_pair(p);
	printf("effective user %d, real %d\n", (int)geteuid(), (int)getuid());
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, "LD_", 3) || !strncmp(*e, "REQSCOPE_SESSION", 16))
			printf("%s\n", *e);
	fflush(stdout);
	SHOW(system("env | grep -c -e ^LD_ -e ^REQSCOPE_SESSION"));
	*served = 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "many")) {
		many_connections();
		return finish();
	}
	if (argc > 1 && !strcmp(argv[1], "privileged")) {
		privileged();
		return finish();
	}
	setbuf(stderr, NULL);
	printf("%d arguments, %s\n", argc, environ == NULL ? "no environment" : "an environment");
	signal(SIGCHLD, on_child);
	dlsym(RTLD_DEFAULT, "no_such_symbol_here");
	printf("dlerror: %d\n", dlerror() != NULL);
	printf("dlerror: %s\n", dlerror());
	show_process("before");
	int from = listener(AF_INET);
	show_process("listening");
	struct pair p = pair(from);
	exchange(p.client, p.server);
	show_process("served");
	show_children();
	setenv("ADDED", "1", 1);
	unsetenv("PATH");
	show_environment("changed");
	SHOW(system("/usr/bin/env | /bin/grep -c -v -e ^LD_PRELOAD= -e ^REQSCOPE_"));
	exchange(p.client, p.server);
	close_pair(p);
	fprintf(stderr, "said on stderr\n");
	return finish();
}
