/*
 * safe_point.h - a thread of another process, stopped where functions of libc
 * may be called in it.
 *
 * That is in a system call that neither the loader nor an allocator makes,
 * with no signal handler and no code of the loader in the stack above.
 */
#ifndef REQSCOPE_SAFE_POINT_H
#define REQSCOPE_SAFE_POINT_H

#include "inject/threads.h"

#include <stdint.h>
#include <sys/types.h>

/*
 * 0: it is stopped, right behind a SYSCALL instruction, to be released by
 * rqs_thread_release(). -ETIMEDOUT none came by until the deadline
 * (CLOCK_MONOTONIC), -EAGAIN likewise, and the process is stopped by a signal;
 * -ESRCH it has ended, -ESTALE it has executed another program since `memory`
 * was opened, -EPERM the kernel refuses ptrace. `memory` is /proc/PID/mem.
 */
int rqs_safe_point(struct rqs_stopped *thread, pid_t pid, int memory, uint64_t deadline_ns);

#endif
