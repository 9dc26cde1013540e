/* waiting.h - what a thread waits for in the kernel, and whether that can be while locks of libc are held. */
#ifndef REQSCOPE_WAITING_H
#define REQSCOPE_WAITING_H

#include "inject/task.h"

enum rqs_waiting {
	RQS_WAITS_NOT_SAFELY,
	RQS_WAITS_HARMLESS, /* neither loaders nor allocators wait so */
	RQS_WAITS_READING,  /* likewise where it is no file of a file system: those are read by libc itself */
	RQS_WAITS_LIMITED,  /* harmless; interrupted and made again it waits for its whole time again */
	RQS_WAITS_LOCKED,   /* for another thread: its stack has to tell what for */
};

/* `memory` is /proc/PID/mem. */
enum rqs_waiting rqs_waiting_in(int memory, const struct rqs_task_call *call);

/* Of a system call's number. */
bool rqs_is_harmless(long number);

/* Is that the address behind a SYSCALL instruction? */
bool rqs_is_behind_syscall(int memory, uint64_t address);

#endif
