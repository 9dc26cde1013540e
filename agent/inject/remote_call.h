/*
 * remote_call.h - functions called in a thread of another process, on a stack
 * of their own, with its signals waiting.
 *
 * If we are killed meanwhile, or don't wait any longer, the function goes on
 * and the thread then returns by itself to where it was, with what it had:
 * its system call that was interrupted is made again.
 */
#ifndef REQSCOPE_REMOTE_CALL_H
#define REQSCOPE_REMOTE_CALL_H

#include "inject/borrow.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Addresses in the process: instructions of its C library. */
struct rqs_remote_ways {
	uint64_t syscall_return; /* syscall; ret */
	uint64_t restorer;       /* where signal handlers return to: mov $SYS_rt_sigreturn, %eax or %rax; syscall */
};

struct rqs_remote {
	struct rqs_tracee tracee;
	struct rqs_stopped *thread;
	const struct rqs_remote_ways *ways;
	uint64_t room, data; /* addresses in the process: all that was mapped; free for arguments */
	uint64_t frame;      /* on its own stack: what it had */
	bool left;           /* a call takes too long: the thread goes on by itself */
};

#define RQS_REMOTE_DATA (16u << 10) /* bytes at `data` */

/*
 * The thread is stopped behind a SYSCALL instruction. 0 or -errno;
 * rqs_remote_end() in any case. The deadline is for all calls. `ways` stays
 * the caller's.
 */
int rqs_remote_begin(struct rqs_remote *remote, struct rqs_stopped *thread, const struct rqs_remote_ways *ways,
		     uint64_t deadline_ns);

/* False: it failed, or takes too long. Nothing can be called any more then. */
bool rqs_remote_call(struct rqs_remote *remote, uint64_t function, uint64_t a, uint64_t b, uint64_t *result);

/* Does such a call return to this page, of which RQS_REMOTE_HEAD bytes are given? */
#define RQS_REMOTE_HEAD 32u
bool rqs_remote_is_code(const uint8_t *page);

/* The thread is as it was, to be released. */
void rqs_remote_end(struct rqs_remote *remote);

#endif
