/* starter.c - see starter.h. The library's own way to a collector (hook/membership.c) has no libc to rely on. */
#include "inject/starter.h"

#include "os/join.h"
#include "os/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ON_DEMAND_MARK ".p"

/* ---- processes ---- */

static bool starts_with(const char *s, const char *start)
{
	return !strncmp(s, start, strlen(start));
}

/* What we start isn't to be recorded, and its libraries are its own. NULL: memory is short. */
static char **environment_without_us(void)
{
	size_t count = 0, kept = 0;

	while (environ[count])
		count++;
	char **copy = malloc((count + 1) * sizeof(*copy));
	for (size_t i = 0; copy && i < count; i++)
		if (!starts_with(environ[i], "LD_PRELOAD=") && !starts_with(environ[i], "REQSCOPE_"))
			copy[kept++] = environ[i];
	if (copy)
		copy[kept] = NULL;
	return copy;
}

static void __attribute__((noreturn)) child(const char *program, char *const argv[], char **envp, int passed)
{
	long grandchild = rqs_sys5(SYS_clone, 0, 0, 0, 0, 0);

	if (grandchild == 0) {
		rqs_sys3(SYS_fcntl, passed, F_SETFD, 0);
		rqs_sys3(SYS_execve, program, argv, envp);
	}
	for (;;)
		rqs_sys1(SYS_exit_group, grandchild <= 0);
}

bool rqs_starter_run(const char *program, char *const argv[], int passed)
{
	char **envp = environment_without_us();
	uint64_t all = ~0ull, mask;
	int status = -1, adopts = 0;

	if (!envp)
		return false;
	rqs_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &mask, sizeof(all));
	/* One that adopts its descendants' orphans would get this one. */
	rqs_sys5(SYS_prctl, PR_GET_CHILD_SUBREAPER, &adopts, 0, 0, 0);
	if (adopts)
		rqs_sys5(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	long pid = rqs_sys5(SYS_clone, 0, 0, 0, 0, 0);
	if (pid == 0)
		child(program, argv, envp, passed);
	if (pid > 0)
		rqs_sys4(SYS_wait4, pid, &status, __WALL, NULL);
	if (adopts)
		rqs_sys5(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	rqs_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
	free(envp);
	return status == 0;
}

/* ---- the collector ---- */

bool rqs_starter_is_on_demand(const char *token)
{
	return !strcmp(token + strspn(token, "0123456789abcdef"), ON_DEMAND_MARK);
}

/* As the library names it: REQSCOPE_OUT, or after this process. */
static bool name_trace(char *to, size_t size)
{
	const char *out = getenv("REQSCOPE_OUT");
	char directory[PATH_MAX];

	if (out && *out == '/')
		return snprintf(to, size, "%s", out) < (int)size;
	if (!getcwd(directory, sizeof(directory)))
		return false;
	if (out && *out)
		return snprintf(to, size, "%s/%s", directory, out) < (int)size;
	return snprintf(to, size, "%s/reqscope.%d.rqs", directory, (int)getpid()) < (int)size;
}

bool rqs_starter_collector(const char *program, const char *token)
{
	char out[PATH_MAX + 64], pid[16], fd[16], answer = 1;
	int ready[2];

	if (!name_trace(out, sizeof(out)) || pipe2(ready, O_CLOEXEC))
		return false;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	snprintf(fd, sizeof(fd), "%d", ready[1]);
	const char *argv[] = {"reqscope", "collect", "--detach", "--mode", "preload",    "--token", token,
			      "--pid",    pid,       "--out",    out,      "--ready-fd", fd,        NULL};
	bool started = rqs_starter_run(program, (char *const *)(uintptr_t)argv, ready[1]);
	close(ready[1]);
	started = started && rqs_join_readable(ready[0]) && read(ready[0], &answer, 1) == 1 && !answer;
	close(ready[0]);
	return started;
}
