/*
 * go_threads.h - threads of a Go program that are stopped while its code is
 * changed: where they are, and what they need to have in registers to go on
 * with the code that is there then.
 */
#ifndef REQSCOPE_GO_THREADS_H
#define REQSCOPE_GO_THREADS_H

#include "inject/stub.h"
#include "inject/threads.h"

struct rqs_change {
	const struct rqs_plan *plan;
	uint64_t bias;
	int memory; /* /proc/PID/mem */
	const struct rqs_patch *patches;
	size_t patch_count;
	uint64_t placed, placed_end; /* our code */
};

/* Go minds no wait with a limit that ends early, but C code that lives beside it may: tells the thread whose it is. */
void rqs_go_thread_knows_eintr(struct rqs_stopped *thread, const struct rqs_change *change);

/* Whether a thread's place has nothing to do with what changes: it may be borrowed. Patches needn't be known yet. */
bool rqs_go_thread_is_elsewhere(const struct rqs_stopped *thread, const struct rqs_change *change);

/*
 * Before the patches are put in: threads leave the bytes that change, and in a
 * system call they have in R12 what its hook leaves there. -EAGAIN: one can't
 * now (it runs a signal's handler just there); they are to be let go and
 * stopped again.
 */
int rqs_go_threads_enter(struct rqs_threads *threads, const struct rqs_change *change);

/*
 * Before the patches are taken out: calls that are ours become the program's
 * own again. -EAGAIN: one is in our code.
 */
int rqs_go_threads_leave(struct rqs_threads *threads, const struct rqs_change *change);

/* Code in the program's text that calls rt_sigreturn; 0 none. memory: /proc/PID/mem. */
uint64_t rqs_go_find_sigreturn(int memory, uint64_t from, uint64_t to);

#endif
