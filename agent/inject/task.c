/* task.c - see task.h. */
#include "inject/task.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_SIZE 4096 /* of `status`, which has about 1,500 bytes */

bool rqs_task_read(pid_t pid, pid_t tid, const char *name, char *text, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, name);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = file < 0 ? -1 : read(file, text, size - 1);
	if (file >= 0)
		close(file);
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

char rqs_task_state(pid_t pid, pid_t tid)
{
	char text[512];
	/* Its name may have brackets, too. */
	const char *end = rqs_task_read(pid, tid, "stat", text, sizeof(text)) ? strrchr(text, ')') : NULL;

	return end && end[1] ? end[2] : '\0';
}

uint64_t rqs_task_number(pid_t pid, pid_t tid, const char *name, int base, uint64_t missing)
{
	char text[STATUS_SIZE];

	if (!rqs_task_read(pid, tid, "status", text, sizeof(text)))
		return missing;
	/* No name in it has a line's end: the kernel writes that of a process otherwise. */
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, strlen(name)))
			return strtoull(line + strlen(name), NULL, base);
	}
	return missing;
}

bool rqs_task_has_nameless(pid_t pid, pid_t tid, int fd)
{
	char path[80], first;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", (int)pid, (int)tid, fd);
	return readlink(path, &first, 1) == 1 && first != '/';
}

enum rqs_task_place rqs_task_call(pid_t pid, pid_t tid, struct rqs_task_call *call)
{
	uint64_t *a = call->arguments;
	char text[256];

	if (!rqs_task_read(pid, tid, "syscall", text, sizeof(text)))
		return RQS_TASK_UNKNOWN;
	if (!strncmp(text, "running", 7))
		return RQS_TASK_RUNS;
	int got = sscanf(
	    text, "%ld %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64,
	    &call->number, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &call->stack, &call->address);
	return got == 9 ? RQS_TASK_WAITS : RQS_TASK_UNKNOWN;
}
