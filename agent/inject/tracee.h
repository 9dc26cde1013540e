/*
 * tracee.h - a process that is stopped at its exec: its memory, its registers,
 * and calls that it makes for us.
 *
 * None of its own instructions runs meanwhile. Calls end at the stops that the
 * kernel makes for each system call: without a trap, hence without a signal.
 * Signals that it gets act at the end.
 *
 * We may be killed at any time, and it goes on then as it is: so it has its
 * own registers whenever it makes no call for us, and a call returns to where
 * the program begins.
 */
#ifndef REQSCOPE_TRACEE_H
#define REQSCOPE_TRACEE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>

#define RQS_XSTATE_MAX 16384
#define RQS_SYSCALL_STOP (SIGTRAP | 0x80) /* by PTRACE_O_TRACESYSGOOD: at the begin and at the end of a call */

struct rqs_tracee {
	pid_t pid;
	int memory;                        /* /proc/PID/mem, -1 not open */
	int stops;                         /* a signalfd: the process has stopped, or ended */
	uint64_t deadline_ns;              /* of CLOCK_MONOTONIC, for all that follows the exec */
	uint64_t syscall_instruction;      /* with nothing behind it but a return */
	struct user_regs_struct registers; /* with these it begins */
	uint8_t xstate[RQS_XSTATE_MAX];    /* likewise the FPU's */
	size_t xstate_size;
	uint64_t postponed; /* signals that it got */
	uint64_t mask;      /* of one that was borrowed (threads.h): the signals that it blocks itself */
	unsigned long
	    born;  /* the thread that it has begun last, told by PTRACE_O_TRACECLONE: the number that it has for us */
	bool gone; /* ended, or not answering in time */
};

/* ns of CLOCK_MONOTONIC, as deadlines are. */
uint64_t rqs_tracee_now_ns(void);

/*
 * Takes note of threads that we trace and that have ended: as long as nobody
 * does, another thread of theirs can't execute a program. Who waits for one of
 * them hears that there is none.
 */
void rqs_tracee_reap(void);

/* Of the wait status of one that was attached to by PTRACE_SEIZE. */
static inline int rqs_tracee_event_of(int status)
{
	return status >> 16;
}

/* What such a one is to be given when it goes on from a stop: the signal that it was stopped by; 0 none. */
static inline int rqs_tracee_signal_of(int status)
{
	int signal_ = WSTOPSIG(status);

	return rqs_tracee_event_of(status) || signal_ == RQS_SYSCALL_STOP ? 0 : signal_;
}

/* Does a signal stop its process, if nobody handles it? */
static inline bool rqs_stops(int signal_)
{
	return signal_ == SIGSTOP || signal_ == SIGTSTP || signal_ == SIGTTIN || signal_ == SIGTTOU;
}

/* Attaches; the process goes on. 0 or -errno. */
int rqs_tracee_seize(struct rqs_tracee *tracee, pid_t pid);

enum rqs_tracee_news {
	RQS_TRACEE_EXECED, /* it is stopped, and has become another program */
	RQS_TRACEE_SPOKE,  /* `channel` can be read, or was closed at its other end */
	RQS_TRACEE_GONE,
};

/* Lets it run until one of these; passes on the signals that it gets. */
enum rqs_tracee_news rqs_tracee_await(struct rqs_tracee *tracee, int channel);

/* Takes over the process that has just become another program, for at most so long. 0 or -errno. */
int rqs_tracee_take(struct rqs_tracee *tracee, uint64_t patience_ns);

/* Gives it back all that it had, and lets it go. */
void rqs_tracee_release(struct rqs_tracee *tracee);

/* Lets a process go that is running, before its exec. */
void rqs_tracee_let_go(struct rqs_tracee *tracee);

bool rqs_tracee_read(struct rqs_tracee *tracee, uint64_t address, void *bytes, size_t size);
/* To memory that it may write to itself. */
bool rqs_tracee_write(struct rqs_tracee *tracee, uint64_t address, const void *bytes, size_t size);
/* To its text, too. */
bool rqs_tracee_poke(struct rqs_tracee *tracee, uint64_t address, const void *bytes, size_t size);

/* A system call made by it; its result or -errno. */
long rqs_tracee_call(struct rqs_tracee *tracee, long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
		     uint64_t f);

/* Runs code from `from` on, on that stack, up to the SYSCALL instruction at `to`; *result is RBX. False: it never got
 * there. */
bool rqs_tracee_run(struct rqs_tracee *tracee, uint64_t from, uint64_t stack, uint64_t to, uint64_t *result);

#endif
