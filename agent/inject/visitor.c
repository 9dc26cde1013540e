/* visitor.c - see visitor.h. */
#include "inject/visitor.h"

#include "inject/frame.h"
#include "inject/task.h"
#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOPPING_NS 200000000ull
#define WORKING_NS 5000000000ull
#define LEAVING_NS 1000000000ull
#define TRIES 20
#define ERESTARTNOINTR 513
#define NEAR_TRIES 6 /* then it may be a thread of any network */
#define PAUSE_US 1000
#define RED_ZONE 128u
#define SPARE 512u /* of the stack, below the frame */
#define FRAME_ALIGN 64u
#define STACK_LIMIT (1ull << 30) /* what is larger is no stack */
#define TRACE(request, tid, address, data) rqs_sys4(SYS_ptrace, request, tid, address, data)

/* As the runtime's own threads. */
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_SYSVSEM | CLONE_THREAD)

/* ---- a thread to borrow ---- */

/* The runtime's idle threads wait in futex: they are missed least. One that polls is missed by connections. */
static bool is_wanted(const struct rqs_visitor *v, pid_t tid)
{
	struct rqs_task_call call;

	if (v->choice == RQS_VISITOR_ANY)
		return true;
	return rqs_task_call(v->pid, tid, &call) == RQS_TASK_WAITS &&
	       (v->choice == RQS_VISITOR_WAITING || call.number == SYS_futex);
}

/* Goroutines may have taken their threads to other networks; the collector is reached in ours. */
static bool is_in_our_network(pid_t pid, pid_t tid)
{
	struct stat ours, its;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/net", (int)pid, (int)tid);
	return stat("/proc/self/ns/net", &ours) || stat(path, &its) || ours.st_ino == its.st_ino;
}

/* runtime.g begins with its stack's bounds; R14 has it wherever Go's code runs. */
static uint64_t place_for_frame(const struct rqs_stopped *thread, const struct rqs_tracee *tracee)
{
	uint64_t bounds[2], sp = thread->registers.rsp;
	struct rqs_tracee memory = *tracee;

	if (!rqs_tracee_read(&memory, thread->registers.r14, bounds, sizeof(bounds)) || bounds[0] >= sp ||
	    sp > bounds[1] || bounds[1] - bounds[0] > STACK_LIMIT)
		return 0;
	uint64_t at = (sp - RED_ZONE - rqs_frame_size(tracee)) & ~(uint64_t)(FRAME_ALIGN - 1);
	return at > bounds[0] + SPARE && at < sp ? at : 0;
}

/* From here on the way back is its state whenever it makes no call for us; and what a call returns to. */
static int prepare_way_back(struct rqs_visitor *v)
{
	struct rqs_tracee *t = &v->borrowed;
	uint64_t at = place_for_frame(&v->host, t);

	if (!at)
		return -EAGAIN;
	if (!rqs_frame_write(t, at) ||
	    !rqs_tracee_write(t, at - sizeof(v->sigreturn), &v->sigreturn, sizeof(v->sigreturn)))
		return -EAGAIN;
	t->registers.rip = v->sigreturn;
	t->registers.rsp = at;
	t->registers.orig_rax = (uint64_t)-1;
	t->syscall_instruction = v->syscall_instruction;
	if (TRACE(PTRACE_SETREGS, t->pid, 0, &t->registers))
		return -ESRCH;
	return rqs_thread_block(t);
}

static int use(struct rqs_visitor *v)
{
	int error = rqs_thread_borrow(&v->borrowed, &v->host, rqs_tracee_now_ns() + WORKING_NS);

	if (!error)
		error = prepare_way_back(v);
	if (error)
		rqs_thread_close(&v->borrowed);
	return error;
}

static void release(struct rqs_visitor *v)
{
	rqs_thread_release(&v->host);
	uint64_t stopped = rqs_tracee_now_ns() - v->host.since_ns;
	if (stopped > v->stopped_ns)
		v->stopped_ns = stopped;
}

/* Looks no further when this one is good, or there is no hope. */
static bool try_thread(void *data, pid_t tid)
{
	struct rqs_visitor *v = data;

	if (!is_wanted(v, tid) || (v->near && !is_in_our_network(v->pid, tid)))
		return true;
	int error = rqs_thread_stop(&v->host, v->pid, tid, rqs_tracee_now_ns() + STOPPING_NS);
	if (error)
		return error != -EPERM || (v->error = error, false);
	bool good = v->is_good(v->context, &v->host);
	if (good && !use(v)) {
		v->error = 0;
		return false;
	}
	release(v);
	return true;
}

int rqs_visitor_borrow(struct rqs_visitor *v)
{
	v->error = -ETIMEDOUT;
	for (int n = 0; n < TRIES && v->error == -ETIMEDOUT; n++) {
		v->choice = (enum rqs_visitor_choice)(n % RQS_VISITOR_CHOICES);
		v->near = n < NEAR_TRIES;
		rqs_threads_list(v->pid, try_thread, v);
		if (v->error == -ETIMEDOUT && v->choice == RQS_VISITOR_ANY)
			usleep(PAUSE_US);
	}
	return v->error;
}

void rqs_visitor_give_back(struct rqs_visitor *v)
{
	rqs_thread_give_back(&v->borrowed, &v->host);
	release(v);
}

/* ---- ours ---- */

static int await_arrival(struct rqs_tracee *t)
{
	int status;
	pid_t got;

	while ((got = waitpid(t->pid, &status, __WALL | WNOHANG)) == 0 && rqs_tracee_now_ns() < t->deadline_ns)
		usleep(20);
	return got == t->pid && WIFSTOPPED(status) && !TRACE(PTRACE_GETREGS, t->pid, 0, &t->registers) ? 0 : -ESRCH;
}

/* It begins as the other one goes on behind its call: so it returns, to its end. The same is what a call of it returns
 * to. */
int rqs_visitor_enter(struct rqs_visitor *v, uint64_t leave, uint64_t stack)
{
	struct rqs_tracee *t = &v->tracee;
	uint64_t top = stack - sizeof(leave);
	sigset_t child;

	if (!rqs_tracee_write(&v->borrowed, top, &leave, sizeof(leave)) ||
	    TRACE(PTRACE_SETOPTIONS, v->borrowed.pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE))
		return -ESRCH;
	long tid;
	int tries = 0;
	do /* the kernel's own word for once more, which nobody but a tracer sees */
		tid = rqs_tracee_call(&v->borrowed, SYS_clone, THREAD_FLAGS, top, 0, 0, 0, 0);
	while (tid == -ERESTARTNOINTR && ++tries < TRIES);
	TRACE(PTRACE_SETOPTIONS, v->borrowed.pid, 0, PTRACE_O_TRACESYSGOOD);
	if (tid < 0)
		return (int)tid;
	v->begun = true;
	/* What the call returns is its number in a namespace that needn't be ours. */
	if (!v->borrowed.born)
		return -ESRCH;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	t->pid = (pid_t)v->borrowed.born;
	t->deadline_ns = rqs_tracee_now_ns() + WORKING_NS;
	t->syscall_instruction = v->syscall_instruction;
	t->stops = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	int error = t->stops < 0 ? -errno : await_arrival(t);
	TRACE(PTRACE_SETOPTIONS, t->pid, 0, PTRACE_O_TRACESYSGOOD); /* it has the other's */
	t->registers.rip = leave;
	t->registers.rsp = stack;
	t->registers.orig_rax = (uint64_t)-1;
	return error;
}

bool rqs_visitor_is_there(const struct rqs_visitor *v)
{
	struct user_regs_struct r;

	return v->tracee.pid && !v->tracee.gone && !TRACE(PTRACE_GETREGS, v->tracee.pid, 0, &r);
}

/* Waited for to the end: as long as it isn't, it would keep an exec from happening. */
void rqs_visitor_leave(struct rqs_visitor *v)
{
	struct rqs_tracee *t = &v->tracee;
	uint64_t until = rqs_tracee_now_ns() + LEAVING_NS;
	int status;
	pid_t got = 0;

	if (!t->pid)
		return;
	if (t->gone)
		TRACE(PTRACE_INTERRUPT, t->pid, 0, 0);
	do {
		if (got == t->pid || !t->gone) {
			TRACE(PTRACE_SETREGS, t->pid, 0, &t->registers);
			TRACE(PTRACE_CONT, t->pid, 0, 0);
		}
		while ((got = waitpid(t->pid, &status, __WALL | WNOHANG)) == 0 && rqs_tracee_now_ns() < until)
			usleep(20);
	} while (got == t->pid && WIFSTOPPED(status) && rqs_tracee_now_ns() < until);
	if (t->stops >= 0)
		close(t->stops);
	t->pid = 0;
}
