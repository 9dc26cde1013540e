/*
 * background.c - setting up the collector as a process.
 *
 * Whoever reads a pipe that the target writes waits for its last writer: an
 * inherited descriptor left open here would keep such a reader waiting.
 */
#include "collect/background.h"

#include "reqscope/kernel.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENVIRONMENT_PREFIX "REQSCOPE_"

extern char **environ;

/* Faults and SIGKILL, SIGSTOP keep their meaning. All else is meant for the target: the server's end ends us. */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGHUP,  SIGINT,  SIGQUIT,   SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP,
				      SIGTTIN, SIGTTOU, SIGVTALRM, SIGPROF, SIGXFSZ, SIGXCPU, SIGIO,   SIGPWR};
	sigset_t none;

	for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void raise_limit(int resource)
{
	struct rlimit limit;

	if (!getrlimit(resource, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(resource, &limit);
	}
}

static void clean_environment(void)
{
	char **kept = environ;

	for (char **variable = environ; *variable; variable++)
		if (strncmp(*variable, "LD_PRELOAD=", 11) &&
		    strncmp(*variable, ENVIRONMENT_PREFIX, sizeof(ENVIRONMENT_PREFIX) - 1))
			*kept++ = *variable;
	*kept = NULL;
}

static void close_between(int first, int last)
{
	if (first > last || !syscall(SYS_close_range, first, last, 0))
		return;

	long limit = sysconf(_SC_OPEN_MAX); /* before Linux 5.9 */
	for (int fd = first; fd <= last && fd < limit; fd++)
		close(fd);
}

/* A target may start us with 0, 1 or 2 closed (Node does): no descriptor of ours may become one of them. */
static void fill_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < 3);
	if (fd >= 0)
		close(fd);
}

/* A target may run without standard streams; then our own descriptors would take their numbers. */
static void fill_standard_fds(void)
{
	int fd;

	while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd < 3)
		;
	if (fd >= 0)
		close(fd);
}

/* Out of the way of 0, 1 and 2. */
static void move_up(int *fd)
{
	if (*fd >= 0 && *fd < 3)
		*fd = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
}

/* The least descriptor to be kept from `first` on, or INT_MAX. */
static int next_kept(int *const *keep, unsigned count, int first)
{
	int next = __INT_MAX__;

	for (unsigned i = 0; i < count; i++)
		if (*keep[i] >= first && *keep[i] < next)
			next = *keep[i];
	return next;
}

static void close_others(int *const *keep, unsigned count)
{
	int first = 3, kept;

	while ((kept = next_kept(keep, count, first)) != __INT_MAX__) {
		close_between(first, kept - 1);
		first = kept + 1;
	}
	close_between(first, __INT_MAX__);
}

static void leave_family(void)
{
	pid_t child = fork();

	if (child)
		_exit(child < 0 ? 1 : 0);
	setsid();
	child = fork();
	if (child)
		_exit(child < 0 ? 1 : 0);
}

void rqs_go_to_background(bool detach, int *const *keep, unsigned count)
{
	if (detach)
		leave_family();
	else
		setsid();
	ignore_signals();
	fill_standard();
	for (unsigned i = 0; i < count; i++)
		move_up(keep[i]);
	fill_standard_fds();
	close_others(keep, count);
	raise_limit(RLIMIT_NOFILE);
	raise_limit(RLIMIT_AS);
	raise_limit(RLIMIT_FSIZE); /* which counts for the shared memory, too */
	clean_environment();
	umask(077);
}

void rqs_let_go_of_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	if (chdir("/")) {
		/* Then we stay where we are. */
	}
}
