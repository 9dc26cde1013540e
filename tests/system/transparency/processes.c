/*
 * processes.c - children of every kind: processes WHAT
 *
 * A server with 50 open connections makes them; its connections, descriptors
 * and counts are unharmed afterwards.
 */
#include "host.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define CONNECTIONS 50
static int from;
static struct pair pairs[CONNECTIONS];
static struct pair busy; /* its request is read, and not answered while children come and go */

static void read_request(struct pair p)
{
	char got[100];

	ask(p.client);
	wait_readable(p.server);
	MUST(read(p.server, got, sizeof(got)));
}

static void open_connections(void)
{
	from = listener(AF_INET);
	busy = pair(from);
	read_request(busy);
	for (int i = 0; i < CONNECTIONS; i++) {
		pairs[i] = pair(from);
		/* Some are fresh, some idle. */
		if (i % 2)
			exchange(pairs[i].client, pairs[i].server);
	}
}

/* All of them work, and so does a new one. */
static void check_connections(const char *what)
{
	struct pair p = pair(from);

	for (int i = 0; i < CONNECTIONS; i++)
		exchange(pairs[i].client, pairs[i].server);
	exchange(p.client, p.server);
	close_pair(p);
	respond(busy.server);
	answered(busy.client);
	read_request(busy);
	printf("after %s: all served\n", what);
}

static void wait_for(const char *what, pid_t pid)
{
	show_status(what, pid);
	check_connections(what);
}

/* ---- what children do ---- */

static void close_everything(void)
{
	close_range(3, ~0u, 0);
}

static void exec_true(void)
{
	execl("/bin/true", "true", NULL);
	_exit(9);
}

static void exec_closing(void)
{
	close(pairs[0].server);
	dup2(pairs[1].server, pairs[2].server);
	closefrom(3);
	exec_true();
}

/* ---- ways ---- */

static void by_fork(void)
{
	pid_t pid = (pid_t)MUST(fork());

	if (!pid) {
		close_everything();
		_exit(3);
	}
	wait_for("fork", pid);
	pid = (pid_t)MUST(fork());
	if (!pid)
		exec_closing();
	wait_for("fork and exec", pid);
	pid = (pid_t)MUST(fork());
	if (!pid)
		exit(0);
	wait_for("fork and exit", pid);
}

static void by_vfork(void)
{
	/* As CPython's subprocess does it: everything closed in the child, which runs on our memory. */
	pid_t pid = vfork();
	if (!pid)
		exec_closing();
	wait_for("vfork and exec", pid);

	pid = vfork();
	if (!pid) {
		close_range(3, ~0u, 0);
		_exit(5);
	}
	wait_for("vfork and exit", pid);

	pid = vfork();
	if (!pid) {
		execv("/nonexistent", (char *[]){"x", NULL});
		_exit(errno == ENOENT ? 7 : 8);
	}
	wait_for("vfork and no exec", pid);

	pid = vfork();
	if (!pid) {
		/* Restricts itself, as what prepares the start of a sandboxed program. */
		static struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		static const struct sock_fprog program = { .len = 1, .filter = &code };

		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
		_exit(8);
	}
	wait_for("vfork and filter", pid);
	pid = (pid_t)MUST(fork());
	if (!pid) {
		exchange(pairs[7].client, pairs[7].server);
		_exit(9);
	}
	wait_for("fork after that", pid);

	pid = vfork();
	if (!pid) {
		/* One within the other. */
		pid_t inner = vfork();

		if (!inner)
			_exit(0);
		close_range(3, ~0u, 0);
		_exit(6);
	}
	wait_for("vfork within vfork", pid);
}

static void by_spawn(void)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = {"sh", "-c", "exit 4", NULL};
	pid_t pid = 0;

	posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < CONNECTIONS; i++)
		posix_spawn_file_actions_addclose(&actions, pairs[i].server);
	posix_spawn_file_actions_adddup2(&actions, pairs[0].client, 1);
	posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	SHOW(posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ));
	wait_for("posix_spawn", pid);
	SHOW(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ));
	wait_for("posix_spawnp", pid);
	SHOW(posix_spawn(&pid, "/nonexistent", NULL, NULL, argv, environ));
	SHOW(posix_spawnp(&pid, "sh", NULL, NULL, argv, (char *[]){NULL}));
	wait_for("posix_spawnp without environment", pid);
	posix_spawn_file_actions_destroy(&actions);

	SHOW(system("exit 7"));
	check_connections("system");
	FILE *pipe = popen("echo popen; cat >/dev/null </dev/null", "r");
	char line[64];
	printf("%s", fgets(line, sizeof(line), pipe));
	SHOW(pclose(pipe));
	check_connections("popen");
}

static int cloned(void *argument)
{
	closefrom(3);
	if (argument)
		exec_true();
	_exit(11);
}

static int cloned_to_serve(void *argument)
{
	struct pair *p = argument;

	exchange(p->client, p->server);
	return 12;
}

static void by_clone(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	static char *const top = stack + sizeof(stack);

	wait_for("clone as vfork", (pid_t)MUST(clone(cloned, top, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL)));
	wait_for("clone as vfork, exec", (pid_t)MUST(clone(cloned, top, CLONE_VM | CLONE_VFORK | SIGCHLD, "")));
	wait_for("clone", (pid_t)MUST(clone(cloned, top, SIGCHLD, NULL)));
	wait_for("clone, exec", (pid_t)MUST(clone(cloned, top, SIGCHLD, "")));
	wait_for("clone, serve", (pid_t)MUST(clone(cloned_to_serve, top, SIGCHLD, &pairs[3])));
	SHOW(clone(NULL, top, SIGCHLD, NULL));

	pid_t pid = (pid_t)MUST(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	if (!pid) {
		exchange(pairs[4].client, pairs[4].server);
		close_everything();
		_exit(13);
	}
	wait_for("raw clone", pid);
	struct {
		uint64_t flags, pidfd, child, parent, signal, stack, size, tls;
	} arguments = {.signal = SIGCHLD};
	pid = (pid_t)MUST(syscall(SYS_clone3, &arguments, sizeof(arguments)));
	if (!pid) {
		exchange(pairs[5].client, pairs[5].server);
		_exit(14);
	}
	wait_for("raw clone3", pid);
	pid = (pid_t)MUST(_Fork());
	if (!pid) {
		exchange(pairs[6].client, pairs[6].server);
		_exit(15);
	}
	wait_for("_Fork", pid);
}

/* A child for each connection; the parent closes what it passed on. */
static void serving_children(void)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		struct pair p = pair(from);

		ask(p.client);
		pid_t pid = (pid_t)MUST(fork());
		if (!pid) {
			close(from);
			serve(p.server);
			serve(p.server);
			close(p.server);
			_exit(0);
		}
		close(p.server);
		answered(p.client);
		ask(p.client);
		answered(p.client);
		show_status("child", pid);
		close(p.client);
	}
	check_connections("serving children");
}

/* Workers that accept from the parent's listener, as prefork servers have them. */
static void workers(void)
{
	pid_t pids[4];

	for (int i = 0; i < 4; i++) {
		pids[i] = (pid_t)MUST(fork());
		if (!pids[i]) {
			for (int n = 0; n < 10; n++) {
				int fd = (int)MUST(accept(from, NULL, NULL));

				while (serve(fd))
					;
				close(fd);
			}
			exit(0);
		}
	}
	for (int n = 0; n < 40; n++) {
		int fd = client();

		for (int i = 0; i < 3; i++) {
			ask(fd);
			answered(fd);
		}
		close(fd);
	}
	for (int i = 0; i < 4; i++)
		show_status("worker", pids[i]);
	check_connections("workers");
}

/* Double fork, as daemons do, and daemon(3), which forks inside libc. */
static void daemons(void)
{
	int ends[2];
	char byte;

	for (int way = 0; way < 2; way++) {
		MUST(pipe(ends));
		pid_t pid = (pid_t)MUST(fork());
		if (!pid) {
			close(ends[0]);
			if (way) {
				if (daemon(1, 1))
					_exit(1);
			} else {
				setsid();
				if (fork())
					_exit(0);
			}
			for (int i = 0; i < CONNECTIONS; i++)
				exchange(pairs[i].client, pairs[i].server);
			struct pair p = pair(from);
			exchange(p.client, p.server);
			_exit(0);
		}
		close(ends[1]);
		show_status("daemon's parent", pid);
		printf("daemon ended: %ld\n", (long)read(ends[0], &byte, 1));
		close(ends[0]);
		check_connections("daemon");
	}
}

static void storm(void)
{
	for (int i = 0; i < 500; i++) {
		struct pair p;

		if (i % 5 == 0)
			p = pair(from);
		pid_t pid = (pid_t)MUST(fork());
		if (!pid) {
			if (i % 5 == 0)
				exchange(p.client, p.server);
			if (i % 3 == 0)
				close_everything();
			_exit(i % 7);
		}
		int status;
		MUST(waitpid(pid, &status, 0));
		if (status != (i % 7) << 8)
			printf("child %d: status %x\n", i, status);
		if (i % 5 == 0)
			close_pair(p);
	}
	check_connections("storm");
}

/* A thread serves while others make children. */
static void spawns_one(int how)
{
	pid_t pid = how == 0 ? vfork() : how == 1 ? fork() : 0;

	if (how == 2) {
		posix_spawn(&pid, "/bin/true", NULL, NULL, (char *[]){"true", NULL}, environ);
	} else if (!pid) {
		close_range(3, ~0u, 0);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void *spawns(void *argument)
{
	for (int i = 0; i < 60; i++)
		spawns_one(i % 3);
	return argument;
}

static void under_load(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, spawns, NULL);
	for (int n = 0; n < 40; n++)
		for (int i = 0; i < CONNECTIONS; i++)
			exchange(pairs[i].client, pairs[i].server);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	check_connections("threads that make children");
}

/* The listener, and a connection with no request open, go through an exec of this very program. */
static void exec_itself(void)
{
	char numbers[3][16];

	respond(busy.server);
	answered(busy.client);
	snprintf(numbers[0], 16, "%d", from);
	snprintf(numbers[1], 16, "%d", pairs[1].client);
	snprintf(numbers[2], 16, "%d", pairs[1].server);
	finish();
	execl("/proc/self/exe", "processes", "again", numbers[0], numbers[1], numbers[2], NULL);
}

static int again(char **argv)
{
	struct pair p = {atoi(argv[1]), atoi(argv[2])};

	from = atoi(argv[0]);
	address_size = sizeof(address);
	MUST(getsockname(from, (struct sockaddr *)&address, &address_size));
	exchange(p.client, p.server);
	exchange(p.client, p.server);
	struct pair fresh = pair(from);
	exchange(fresh.client, fresh.server);
	close_pair(fresh);
	return finish();
}

int main(int argc, char **argv)
{
#define WAY(name)                                                                                                      \
	{                                                                                                              \
#name, name                                                                                            \
	}
	static const struct {
		const char *name;
		void (*run)(void);
	} ways[] = {WAY(by_fork), WAY(by_vfork), WAY(by_spawn), WAY(by_clone),   WAY(serving_children),
		    WAY(workers), WAY(daemons),  WAY(storm),    WAY(under_load), WAY(exec_itself)};

	if (argc == 5)
		return again(argv + 2);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (argc < 2 || strcmp(argv[1], ways[i].name))
			continue;
		open_connections();
		ways[i].run();
		respond(busy.server);
		answered(busy.client);
		show_descriptors("at the end");
	}
	return finish();
}
