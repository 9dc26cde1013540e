/* task.h - what the kernel tells of one thread of another process, in /proc/PID/task/TID. */
#ifndef REQSCOPE_TASK_H
#define REQSCOPE_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A file's text, as much as there is room for, and NUL. False: it can't be read, or is empty. */
bool rqs_task_read(pid_t pid, pid_t tid, const char *name, char *text, size_t size);

/* R, S, D, T, t, Z, X: as in proc(5); 0 there is no such thread. */
char rqs_task_state(pid_t pid, pid_t tid);

/* Behind a name such as "Seccomp:" in `status`; `missing` where there is none. */
uint64_t rqs_task_number(pid_t pid, pid_t tid, const char *name, int base, uint64_t missing);

/* The system call that a thread waits in. */
struct rqs_task_call {
	long number;
	uint64_t arguments[6], stack, address; /* behind the instruction */
};

/* Is that descriptor a pipe, a socket or the like, as /proc/PID/fd names it? */
bool rqs_task_has_nameless(pid_t pid, pid_t tid, int fd);

enum rqs_task_place { RQS_TASK_UNKNOWN, RQS_TASK_RUNS, RQS_TASK_WAITS };
enum rqs_task_place rqs_task_call(pid_t pid, pid_t tid, struct rqs_task_call *call);

#endif
