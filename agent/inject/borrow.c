/* borrow.c - see borrow.h. */
#include "inject/borrow.h"

#include "os/sys.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define KERNEL_SIGSET 8
#define GIVING_BACK_NS 1000000000ull
#define TRACE(request, tid, address, data) rqs_sys4(SYS_ptrace, request, tid, address, data)

int rqs_thread_borrow(struct rqs_tracee *tracee, const struct rqs_stopped *thread, uint64_t deadline_ns)
{
	struct iovec xstate = {tracee->xstate, sizeof(tracee->xstate)};
	sigset_t child;
	char path[64];

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	memset(tracee, 0, sizeof(*tracee));
	tracee->pid = thread->tid;
	tracee->deadline_ns = deadline_ns;
	tracee->registers = thread->registers;
	tracee->stops = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)thread->pid);
	tracee->memory = open(path, O_RDWR | O_CLOEXEC);
	if (tracee->memory < 0 || tracee->stops < 0)
		return -errno;
	if (TRACE(PTRACE_GETSIGMASK, thread->tid, KERNEL_SIGSET, &tracee->mask) ||
	    TRACE(PTRACE_GETREGSET, thread->tid, NT_X86_XSTATE, &xstate))
		return -ESRCH;
	tracee->xstate_size = xstate.iov_len;
	return 0;
}

int rqs_thread_block(const struct rqs_tracee *tracee)
{
	uint64_t all = UINT64_MAX;

	return TRACE(PTRACE_SETSIGMASK, tracee->pid, KERNEL_SIGSET, &all) ? -ESRCH : 0;
}

void rqs_thread_close(const struct rqs_tracee *tracee)
{
	if (tracee->memory >= 0)
		close(tracee->memory);
	if (tracee->stops >= 0)
		close(tracee->stops);
}

/*
 * Whether an interrupted call is made again is looked at by the kernel when a
 * thread goes on from a stop like the first one: so it is brought to another.
 */
bool rqs_thread_give_back(struct rqs_tracee *tracee, struct rqs_stopped *thread)
{
	struct iovec xstate = {tracee->xstate, tracee->xstate_size};
	uint64_t until = rqs_tracee_now_ns() + GIVING_BACK_NS;
	int status, error = (int)TRACE(PTRACE_INTERRUPT, thread->tid, 0, 0);

	if (!tracee->gone)
		TRACE(PTRACE_CONT, thread->tid, 0, 0);
	while (!error && !(error = rqs_thread_next_stop(thread->tid, until, &status)) &&
	       rqs_tracee_event_of(status) != PTRACE_EVENT_STOP)
		TRACE(PTRACE_CONT, thread->tid, 0, 0);
	if (tracee->xstate_size) {
		TRACE(PTRACE_SETREGSET, thread->tid, NT_X86_XSTATE, &xstate);
		TRACE(PTRACE_SETSIGMASK, thread->tid, KERNEL_SIGSET, &tracee->mask);
	}
	thread->changed = true;
	thread->gone = error == -ESRCH;
	thread->settled = error; /* one that hasn't stopped goes back by itself */
	TRACE(PTRACE_SETREGS, thread->tid, 0, &thread->registers);
	rqs_thread_close(tracee);
	return !error;
}
