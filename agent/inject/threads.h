/*
 * threads.h - threads of a process that runs, stopped for a moment and let go
 * again as if nothing had been.
 *
 * If we are killed the kernel lets them all go on where they are.
 */
#ifndef REQSCOPE_THREADS_H
#define REQSCOPE_THREADS_H

#include "inject/tracee.h"

/* A thread that is stopped: where it may be given other registers. */
struct rqs_stopped {
	pid_t pid, tid;
	struct user_regs_struct registers; /* with these it goes on */
	bool changed;                      /* set by who changed them */
	bool settled;                      /* it has them: rqs_threads_settle(); or runs, and needs none */
	bool gone;                         /* it has ended */
	bool knows_eintr;  /* set by who knows: a wait with a limit that ended early is nothing that it minds */
	uint64_t since_ns; /* CLOCK_MONOTONIC, when it was asked to stop */
};

/* Stops one thread until the deadline (CLOCK_MONOTONIC, ns). 0; -ETIMEDOUT, -ESRCH, -EPERM: it runs on. */
int rqs_thread_stop(struct rqs_stopped *thread, pid_t pid, pid_t tid, uint64_t deadline_ns);

/* Lets it go. A system call that was interrupted by the stop is made again, without its caller's notice. */
void rqs_thread_release(struct rqs_stopped *thread);

/* Lets one go that was asked to stop and has not been seen to: it is waited for, a second at most. */
void rqs_thread_forget(struct rqs_stopped *thread);

/* Runs one instruction of it. False: it has ended, or is elsewhere. */
bool rqs_thread_step(struct rqs_stopped *thread);

/* The next stop of one that we trace: 0; -ESRCH it has ended, -ETIMEDOUT. After rqs_thread_stop() of any. */
int rqs_thread_next_stop(pid_t tid, uint64_t deadline_ns, int *status);
/* The stop that it was asked for. Signals that come first begin to act, as they would have. The same results. */
int rqs_thread_await_stop(pid_t tid, uint64_t deadline_ns);

struct rqs_threads {
	pid_t pid;
	struct rqs_stopped *all;
	size_t count, room;
	pid_t but;           /* this one is left alone: it is ours; 0 none */
	uint64_t *known;     /* by bit: a thread's number is among all */
	uint64_t stopped_ns; /* result: how long they were stopped, added to by each release */
};

/* All of them, new ones included. 0 or -errno with all running. rqs_threads_release() in the first case. */
int rqs_threads_stop(struct rqs_threads *threads, pid_t pid, uint64_t deadline_ns);
void rqs_threads_release(struct rqs_threads *threads);

/* Gives them what they go on with, as releasing does: if we are killed from here on, they go on with it, too. */
void rqs_threads_settle(struct rqs_threads *threads);

/* Calls visit for each thread's number, as long as that says true. */
void rqs_threads_list(pid_t pid, bool (*visit)(void *data, pid_t tid), void *data);

#endif
