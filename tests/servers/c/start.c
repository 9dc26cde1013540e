/*
 * start.c - starts a program in one of the ways there are, and ends with its
 * status; to be built for one C library and the other.
 *
 *    start exec|execvp|execle|fexecve|execveat|itself|traced|fork|vfork|spawn|spawnp|system|popen PROGRAM [ARGUMENT...]
 *
 * PROGRAM is a path, or for execvp and spawnp a name on the PATH.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#ifndef __GLIBC__ /* musl has no function for it */
static int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
	return (int)syscall(SYS_execveat, fd, path, argv, envp, flags);
}
#endif

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 125;
	return status_of(status);
}

static int spawn(char **command, int by_name)
{
	pid_t pid;
	int error = by_name ? posix_spawnp(&pid, command[0], NULL, NULL, command, environ)
			    : posix_spawn(&pid, command[0], NULL, NULL, command, environ);

	return error ? 126 : wait_for(pid);
}

static int by_shell(char **command, int by_pipe)
{
	char line[4096] = "", buffer[4096];
	size_t got;

	for (; *command; command++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), "'%s' ", *command);
	if (!by_pipe)
		return status_of(system(line));
	FILE *output = popen(line, "r");
	while (output && (got = fread(buffer, 1, sizeof(buffer), output)) > 0)
		fwrite(buffer, 1, got, stdout);
	return output ? status_of(pclose(output)) : 125;
}

/* A name of an open file that no other process has. */
static const char *itself(const char *path)
{
	static char name[64];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", open(path, O_RDONLY | O_CLOEXEC));
	return name;
}

/* What debuggers do: tells where the exec stopped, and lets it go on. */
static int trace(pid_t pid)
{
	char path[64], program[4096] = "";
	int status;

	waitpid(pid, &status, 0);
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	if (WIFSTOPPED(status) && readlink(path, program, sizeof(program) - 1) > 0)
		printf("stopped in %s\n", program);
	fflush(stdout);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	return wait_for(pid);
}

int main(int argc, char **argv)
{
	const char *how = argv[1];
	char **command = argv + 2;
	pid_t pid;

	if (argc < 3)
		return 2;
	if (!strcmp(how, "exec"))
		execv(command[0], command);
	else if (!strcmp(how, "execvp"))
		execvp(command[0], command);
	else if (!strcmp(how, "execle"))
		execle(command[0], command[0], command[1], NULL, environ);
	else if (!strcmp(how, "fexecve"))
		fexecve(open(command[0], O_PATH | O_CLOEXEC), command, environ);
	else if (!strcmp(how, "execveat"))
		execveat(open(command[0], O_PATH | O_CLOEXEC), "", command, environ, AT_EMPTY_PATH);
	else if (!strcmp(how, "itself"))
		execv(itself(command[0]), command);
	else if (!strcmp(how, "traced") && (pid = fork()))
		return trace(pid);
	else if (!strcmp(how, "traced") && !ptrace(PTRACE_TRACEME, 0, 0, 0))
		execv(command[0], command);
	else if (!strcmp(how, "fork") && (pid = fork()))
		return wait_for(pid);
	else if (!strcmp(how, "vfork") && (pid = vfork()))
		return wait_for(pid);
	else if (!strcmp(how, "fork") || !strcmp(how, "vfork"))
		execv(command[0], command);
	else if (!strncmp(how, "spawn", 5))
		return spawn(command, how[5] == 'p');
	else if (!strcmp(how, "system") || !strcmp(how, "popen"))
		return by_shell(command, how[0] == 'p');
	_exit(126);
}
