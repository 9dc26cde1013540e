/*
 * safe_point.c - see safe_point.h.
 *
 * First the threads are looked at from outside: one that waits in such a call
 * is stopped there. Where none waits, those that run are traced one after the
 * other, for a moment each, up to the end of the next such call.
 */
#include "inject/safe_point.h"

#include "inject/interrupted.h"
#include "inject/stack.h"
#include "inject/waiting.h"
#include "os/sys.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRACE(request, tid, address, data) rqs_sys4(SYS_ptrace, request, tid, address, data)
#define STOPPING_NS 1000000000ull /* it runs on until then */
#define FOLLOWED_NS 20000000ull   /* a thread that runs */
#define PAUSE_NS 1000000          /* between two looks at all threads, at first */
#define PAUSE_LIMIT_NS 16000000
#define USER_CODE 0x33 /* of 64 bits, as CS has it */

/* How many looks are for better threads than these. */
#define ROUNDS_WITHOUT_LOCKED 8
/* Until then only those that have begun to wait since the last look. */
#define ROUNDS_WITHOUT_LIMITED 48
#define ROUNDS_OF_SHORT_PAUSES 64
#define LIMITED_THREADS 64

/* ---- all threads ---- */

struct hunt {
	pid_t pid;
	uint64_t deadline_ns;
	struct rqs_stopped *thread;
	int memory;
	struct rqs_stack stack;
	int round;
	struct {
		pid_t tid;
		uint64_t waits; /* how often it has begun to wait */
	} limited[LIMITED_THREADS];
	unsigned limited_count;
	bool running; /* those that run are looked for */
	int seen, stopped_by_signal;
	int result; /* 0 found, -EAGAIN go on, -errno */
};

/* ---- is it safe there? ---- */

static enum rqs_waiting waiting_in(const struct hunt *hunt, pid_t tid, const struct rqs_task_call *call)
{
	enum rqs_waiting waiting = rqs_waiting_in(hunt->memory, call);

	if (waiting != RQS_WAITS_READING)
		return waiting;
	return rqs_task_has_nameless(hunt->pid, tid, (int)call->arguments[0]) ? RQS_WAITS_HARMLESS
									      : RQS_WAITS_NOT_SAFELY;
}

static bool is_safe(struct hunt *hunt)
{
	const struct user_regs_struct *r = &hunt->thread->registers;
	struct rqs_task_call call = {(long)r->orig_rax, {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9}, r->rsp, r->rip};
	enum rqs_waiting waiting = waiting_in(hunt, hunt->thread->tid, &call);

	return waiting != RQS_WAITS_NOT_SAFELY && r->cs == USER_CODE && rqs_is_behind_syscall(hunt->memory, r->rip) &&
	       rqs_unwinder_look(hunt->stack.unwinder) &&
	       rqs_stack_is_safe(&hunt->stack, r, waiting == RQS_WAITS_LOCKED, &hunt->thread->knows_eintr);
}

static bool see_anything(void *data, unsigned depth, uint64_t address)
{
	(void)data, (void)depth, (void)address;
	return true;
}

/* What unwinding takes is read before the thread is stopped, as far as its stack can be followed without registers. */
static void look_ahead(struct hunt *hunt, const struct rqs_task_call *call)
{
	struct user_regs_struct registers = {.rsp = call->stack, .rip = call->address};

	if (rqs_unwinder_look(hunt->stack.unwinder))
		rqs_unwind(hunt->stack.unwinder, &registers, see_anything, NULL);
}

/* ---- a thread that runs ---- */

/* Up to the end of a harmless call, or until the deadline. *status is of the last stop. False: it is not stopped. */
static bool follow(pid_t tid, uint64_t deadline_ns, int *status)
{
	struct user_regs_struct r;
	int pass = 0;

	for (;;) {
		if (TRACE(PTRACE_SYSCALL, tid, 0, pass) || rqs_thread_next_stop(tid, deadline_ns, status))
			return false;
		if (rqs_tracee_event_of(*status))
			return true;
		pass = rqs_tracee_signal_of(*status);
		if (!pass && (TRACE(PTRACE_GETREGS, tid, 0, &r) ||
			      ((int64_t)r.rax != -ENOSYS && rqs_is_harmless((long)r.orig_rax))))
			return true;
	}
}

/* To the kind of stop that was asked for, wherever it is. False: it has ended, or doesn't stop. */
static bool settle(struct rqs_stopped *thread, bool stopped, int status)
{
	if (!stopped || rqs_tracee_event_of(status) != PTRACE_EVENT_STOP) {
		TRACE(PTRACE_INTERRUPT, thread->tid, 0, 0);
		if (stopped)
			TRACE(PTRACE_CONT, thread->tid, 0, 0);
		stopped = !rqs_thread_await_stop(thread->tid, rqs_tracee_now_ns() + STOPPING_NS);
	}
	return stopped && !TRACE(PTRACE_GETREGS, thread->tid, 0, &thread->registers);
}

/* It was stopped somewhere. It is again, in a harmless call or not. */
static bool bring_to_call(struct rqs_stopped *thread)
{
	int status = 0;

	if ((int64_t)thread->registers.orig_rax >= 0)
		return true; /* in a call, which is to be made again as it is */
	thread->since_ns = rqs_tracee_now_ns();
	bool stopped = follow(thread->tid, rqs_tracee_now_ns() + FOLLOWED_NS, &status);
	if (settle(thread, stopped, status))
		return true;
	rqs_thread_forget(thread);
	return false;
}

/* ---- the choice ---- */

/* Has it begun to wait a moment ago? Then little is lost where it does so again. */
static bool has_just_begun(struct hunt *hunt, pid_t tid)
{
	uint64_t waits = rqs_task_number(hunt->pid, tid, "voluntary_ctxt_switches:", 10, 0);
	unsigned i = 0;

	while (i < hunt->limited_count && hunt->limited[i].tid != tid)
		i++;
	if (i == LIMITED_THREADS)
		return false;
	bool known = i < hunt->limited_count, begun = known && hunt->limited[i].waits != waits;
	hunt->limited[i].tid = tid;
	hunt->limited[i].waits = waits;
	hunt->limited_count += !known;
	return begun;
}

/* From outside; false for a thread that isn't worth being stopped in this round. */
static bool is_candidate(struct hunt *hunt, pid_t tid)
{
	struct rqs_task_call call;
	enum rqs_task_place place = rqs_task_call(hunt->pid, tid, &call);

	if (place != RQS_TASK_WAITS)
		return place == RQS_TASK_RUNS && hunt->running;
	enum rqs_waiting waiting = waiting_in(hunt, tid, &call);
	if (waiting == RQS_WAITS_NOT_SAFELY || (waiting == RQS_WAITS_LOCKED && hunt->round < ROUNDS_WITHOUT_LOCKED) ||
	    (waiting == RQS_WAITS_LIMITED && hunt->round < ROUNDS_WITHOUT_LIMITED && !has_just_begun(hunt, tid)))
		return false;
	look_ahead(hunt, &call);
	return true;
}

/* If we are killed from here on it makes its call again; released, it is given what it really had. */
static void keep_call(struct rqs_stopped *thread)
{
	struct user_regs_struct again = thread->registers;

	if (!rqs_is_interrupted(&again))
		return;
	rqs_make_again(&again);
	thread->changed = !TRACE(PTRACE_SETREGS, thread->tid, 0, &again);
}

static int try_thread(struct hunt *hunt, pid_t tid)
{
	int error = rqs_thread_stop(hunt->thread, hunt->pid, tid, rqs_tracee_now_ns() + STOPPING_NS);

	if (error == -EPERM && rqs_task_state(hunt->pid, tid))
		return -EPERM;
	if (error)
		return -EAGAIN;
	if (hunt->running && !bring_to_call(hunt->thread))
		return -EAGAIN;
	keep_call(hunt->thread);
	if (is_safe(hunt))
		return 0;
	rqs_thread_release(hunt->thread);
	return -EAGAIN;
}

static bool visit(void *data, pid_t tid)
{
	struct hunt *hunt = data;
	char state = rqs_task_state(hunt->pid, tid);

	if (strchr("XZx", state)) /* or there is none */
		return true;
	hunt->seen++;
	hunt->stopped_by_signal += state == 'T';
	/* Also one that is stopped by a signal: it makes our calls, and is stopped again. */
	if (state != 't' && is_candidate(hunt, tid))
		hunt->result = try_thread(hunt, tid);
	return hunt->result == -EAGAIN && rqs_tracee_now_ns() < hunt->deadline_ns;
}

/* Then what we have open is the memory that it had before. */
static bool has_executed(const struct hunt *hunt)
{
	uint8_t byte;

	return hunt->stack.functions.count &&
	       pread(hunt->memory, &byte, 1, (off_t)hunt->stack.functions.all[0].start) != 1;
}

static int search(struct hunt *hunt)
{
	struct timespec pause_ = {.tv_nsec = PAUSE_NS};

	for (;; hunt->round++) {
		hunt->running = hunt->round % 8 == 7; /* waited for first: that costs nobody anything */
		hunt->seen = hunt->stopped_by_signal = 0;
		rqs_threads_list(hunt->pid, visit, hunt);
		if (hunt->result != -EAGAIN)
			return hunt->result;
		if (!hunt->seen)
			return -ESRCH;
		if (has_executed(hunt))
			return -ESTALE;
		if (rqs_tracee_now_ns() >= hunt->deadline_ns)
			return hunt->stopped_by_signal == hunt->seen ? -EAGAIN : -ETIMEDOUT;
		nanosleep(&pause_, NULL);
		if (hunt->round >= ROUNDS_OF_SHORT_PAUSES && pause_.tv_nsec < PAUSE_LIMIT_NS)
			pause_.tv_nsec *= 2;
	}
}

int rqs_safe_point(struct rqs_stopped *thread, pid_t pid, int memory, uint64_t deadline_ns)
{
	struct hunt *hunt = calloc(1, sizeof(*hunt));
	int error = -ENOMEM;

	if (!hunt)
		return error;
	*hunt = (struct hunt){
	    .pid = pid, .deadline_ns = deadline_ns, .thread = thread, .memory = memory, .result = -EAGAIN};
	hunt->stack.unwinder = rqs_unwinder_new(pid, memory);
	if (hunt->stack.unwinder) {
		rqs_remote_functions(pid, memory, &hunt->stack.functions);
		error = search(hunt);
	}
	rqs_unwinder_free(hunt->stack.unwinder);
	free(hunt);
	return error;
}
