/* borrow.h - a thread that is stopped makes calls for us, and is as before afterwards. */
#ifndef REQSCOPE_BORROW_H
#define REQSCOPE_BORROW_H

#include "inject/threads.h"

/*
 * Makes calls by a stopped thread possible (tracee.h). memory is opened.
 * syscall_instruction is to be set by the caller before the first call. Given
 * back in any case.
 */
int rqs_thread_borrow(struct rqs_tracee *tracee, const struct rqs_stopped *thread, uint64_t deadline_ns);
/* Blocks its signals until it is given back: to be called before the first call. 0 or -ESRCH. */
int rqs_thread_block(const struct rqs_tracee *tracee);
/* Closes what borrowing has opened; giving back does that, too. */
void rqs_thread_close(const struct rqs_tracee *tracee);
/* It is stopped again as before, with its own registers and signals. False: it isn't any more; it goes on with them. */
bool rqs_thread_give_back(struct rqs_tracee *tracee, struct rqs_stopped *thread);

#endif
