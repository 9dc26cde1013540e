/* tracee.c - see tracee.h. */
#include "inject/tracee.h"

#include "inject/interrupted.h"
#include "os/sys.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LETTING_GO_MS 1000

#define TRACE(request, tracee, address, data) rqs_sys4(SYS_ptrace, request, (tracee)->pid, address, data)

uint64_t rqs_tracee_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int left_ms(uint64_t deadline_ns)
{
	uint64_t now = rqs_tracee_now_ns();

	return now < deadline_ns ? (int)((deadline_ns - now) / 1000000 + 1) : 0;
}

int rqs_tracee_seize(struct rqs_tracee *tracee, pid_t pid)
{
	sigset_t child;

	memset(tracee, 0, sizeof(*tracee));
	tracee->pid = pid;
	tracee->memory = -1;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	signal(SIGCHLD, SIG_DFL); /* ignored, it wouldn't come */
	sigprocmask(SIG_BLOCK, &child, NULL);
	tracee->stops = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (tracee->stops < 0)
		return -errno;
	return (int)TRACE(PTRACE_SEIZE, tracee, 0, PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD);
}

/* ---- waiting ---- */

enum wait_result { STOPPED, SPOKE, GONE };

/* One whose place was taken by another thread that executes a program is gone without a signal: so it is asked for. */
#define ASKED_FOR_MS 50

static int patience_ms(uint64_t deadline_ns)
{
	int left = deadline_ns ? left_ms(deadline_ns) : ASKED_FOR_MS;

	return left < ASKED_FOR_MS ? left : ASKED_FOR_MS;
}

static bool is_end(const siginfo_t *news)
{
	return news->si_code == CLD_EXITED || news->si_code == CLD_KILLED || news->si_code == CLD_DUMPED;
}

/*
 * Stops of ours are told here, too, whatever is asked for; taken note of they
 * would be lost. Behind such a one no end is seen: but whoever executes a
 * program ends also those that are stopped.
 */
void rqs_tracee_reap(void)
{
	siginfo_t news = {0}, ended = {0};

	while (!waitid(P_ALL, 0, &news, WEXITED | WNOHANG | WNOWAIT | __WALL) && news.si_pid && is_end(&news) &&
	       !waitid(P_PID, (id_t)news.si_pid, &ended, WEXITED | WNOHANG | __WALL) && ended.si_pid)
		news.si_pid = ended.si_pid = 0;
}

/* The next stop. Also ends when there is something to read on channel (-1: none); with GONE at the deadline (0: none).
 */
static enum wait_result wait_for_stop(struct rqs_tracee *tracee, int channel, uint64_t deadline_ns, int *status)
{
	struct signalfd_siginfo info;

	for (;;) {
		pid_t pid = waitpid(tracee->pid, status, __WALL | WNOHANG);
		struct pollfd fds[2] = {{.fd = tracee->stops, .events = POLLIN}, {.fd = channel, .events = POLLIN}};

		if (pid == tracee->pid)
			return WIFSTOPPED(*status) ? STOPPED : GONE;
		if (pid < 0 && errno != EINTR)
			return GONE;
		int ready = poll(fds, 2, patience_ms(deadline_ns));
		if (ready == 0 && deadline_ns && !left_ms(deadline_ns))
			return GONE;
		if (ready == 0)
			rqs_tracee_reap();
		if (ready > 0 && fds[0].revents) {
			while (read(tracee->stops, &info, sizeof(info)) > 0)
				;
			continue; /* first of all what it did */
		}
		if (ready > 0 && fds[1].revents)
			return SPOKE;
	}
}

static bool is_group_stop(int status)
{
	return rqs_tracee_event_of(status) == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP;
}

/* Goes on as it would have, were it not traced. */
static void pass_on(struct rqs_tracee *tracee, int status)
{
	if (is_group_stop(status))
		TRACE(PTRACE_LISTEN, tracee, 0, 0);
	else
		TRACE(PTRACE_CONT, tracee, 0, rqs_tracee_event_of(status) ? 0 : WSTOPSIG(status));
}

enum rqs_tracee_news rqs_tracee_await(struct rqs_tracee *tracee, int channel)
{
	int status;

	for (;;) {
		switch (wait_for_stop(tracee, channel, 0, &status)) {
		case GONE:
			return RQS_TRACEE_GONE;
		case SPOKE:
			return RQS_TRACEE_SPOKE;
		case STOPPED:
			if (rqs_tracee_event_of(status) == PTRACE_EVENT_EXEC)
				return RQS_TRACEE_EXECED;
			pass_on(tracee, status);
		}
	}
}

void rqs_tracee_let_go(struct rqs_tracee *tracee)
{
	int status;

	TRACE(PTRACE_INTERRUPT, tracee, 0, 0);
	if (wait_for_stop(tracee, -1, rqs_tracee_now_ns() + LETTING_GO_MS * 1000000ull, &status) == STOPPED)
		TRACE(PTRACE_DETACH, tracee, 0, rqs_tracee_event_of(status) ? 0 : WSTOPSIG(status));
	close(tracee->stops);
}

/* Has it got the signal for an instruction that failed, and not from somebody? */
static bool is_fault(struct rqs_tracee *tracee)
{
	siginfo_t info;

	return !TRACE(PTRACE_GETSIGINFO, tracee, 0, &info) && info.si_code > 0 &&
	       (info.si_signo == SIGSEGV || info.si_signo == SIGBUS || info.si_signo == SIGILL ||
		info.si_signo == SIGFPE || info.si_signo == SIGTRAP || info.si_signo == SIGSYS);
}

/*
 * Lets it run to the next begin or end of a system call. False: not in time,
 * or never. Stopped by a signal it goes on all the same, for us, and is
 * stopped again by the kernel when we have let go, unless SIGCONT came.
 */
static bool resume(struct rqs_tracee *tracee)
{
	int status, pass = 0;

	while (!tracee->gone) {
		if (TRACE(PTRACE_SYSCALL, tracee, 0, pass) ||
		    wait_for_stop(tracee, -1, tracee->deadline_ns, &status) != STOPPED) {
			tracee->gone = true;
			break;
		}
		pass = 0;
		if (rqs_tracee_event_of(status) == PTRACE_EVENT_CLONE)
			TRACE(PTRACE_GETEVENTMSG, tracee, 0, &tracee->born);
		if (rqs_tracee_event_of(status))
			continue;
		if (WSTOPSIG(status) == RQS_SYSCALL_STOP)
			return true;
		if (is_fault(tracee))
			return false;
		if (rqs_stops(WSTOPSIG(status)))
			pass = WSTOPSIG(status);
		else if (WSTOPSIG(status) != SIGCONT)
			tracee->postponed |= 1ull << (WSTOPSIG(status) - 1);
	}
	return false;
}

/* ---- taking and giving back ---- */

/* Where it begins is where a call returns to, if nobody is there any more. */
static int save(struct rqs_tracee *tracee)
{
	struct iovec xstate = {tracee->xstate, sizeof(tracee->xstate)};

	if (TRACE(PTRACE_GETREGS, tracee, 0, &tracee->registers) ||
	    TRACE(PTRACE_GETREGSET, tracee, NT_X86_XSTATE, &xstate) ||
	    !rqs_tracee_write(tracee, tracee->registers.rsp - sizeof(tracee->registers.rip), &tracee->registers.rip,
			      sizeof(tracee->registers.rip)))
		return -EIO;
	tracee->xstate_size = xstate.iov_len;
	return 0;
}

int rqs_tracee_take(struct rqs_tracee *tracee, uint64_t patience_ns)
{
	char path[64];

	tracee->deadline_ns = rqs_tracee_now_ns() + patience_ns;
	/* From within the exec to its end: before that the kernel would still set registers. */
	if (!resume(tracee))
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)tracee->pid);
	tracee->memory = open(path, O_RDWR | O_CLOEXEC);
	return tracee->memory < 0 ? -errno : save(tracee);
}

static void restore(struct rqs_tracee *tracee)
{
	struct iovec xstate = {tracee->xstate, tracee->xstate_size};

	TRACE(PTRACE_SETREGS, tracee, 0, &tracee->registers);
	TRACE(PTRACE_SETREGSET, tracee, NT_X86_XSTATE, &xstate);
}

/* One that doesn't answer is running code of ours that never ends. */
static void interrupt(struct rqs_tracee *tracee)
{
	int status;

	TRACE(PTRACE_INTERRUPT, tracee, 0, 0);
	tracee->gone = wait_for_stop(tracee, -1, rqs_tracee_now_ns() + LETTING_GO_MS * 1000000ull, &status) != STOPPED;
}

void rqs_tracee_release(struct rqs_tracee *tracee)
{
	if (tracee->gone)
		interrupt(tracee);
	if (tracee->xstate_size)
		restore(tracee);
	for (int signal_ = 1; signal_ <= 64; signal_++)
		if (tracee->postponed >> (signal_ - 1) & 1)
			rqs_sys3(SYS_tgkill, tracee->pid, tracee->pid, signal_);
	TRACE(PTRACE_DETACH, tracee, 0, 0);
	if (tracee->memory >= 0)
		close(tracee->memory);
	close(tracee->stops);
}

/* ---- memory ---- */

bool rqs_tracee_read(struct rqs_tracee *tracee, uint64_t address, void *bytes, size_t size)
{
	return pread(tracee->memory, bytes, size, (off_t)address) == (ssize_t)size;
}

bool rqs_tracee_write(struct rqs_tracee *tracee, uint64_t address, const void *bytes, size_t size)
{
	return pwrite(tracee->memory, bytes, size, (off_t)address) == (ssize_t)size;
}

/* Word by word: of /proc/PID/mem the kernel may be told to refuse what the process couldn't write itself. */
bool rqs_tracee_poke(struct rqs_tracee *tracee, uint64_t address, const void *bytes, size_t size)
{
	const uint8_t *from = bytes;

	while (size) {
		uint64_t word, skip = address % sizeof(word);
		size_t n = sizeof(word) - skip < size ? sizeof(word) - skip : size;

		if (TRACE(PTRACE_PEEKTEXT, tracee, address - skip, &word))
			return false;
		memcpy((uint8_t *)&word + skip, from, n);
		if (TRACE(PTRACE_POKETEXT, tracee, address - skip, word))
			return false;
		address += n;
		from += n;
		size -= n;
	}
	return true;
}

/* ---- calls ---- */

/* Its own registers again, after what it did for us, or didn't do. */
static bool reset(struct rqs_tracee *tracee)
{
	return !TRACE(PTRACE_SETREGS, tracee, 0, &tracee->registers);
}

long rqs_tracee_call(struct rqs_tracee *tracee, long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
		     uint64_t f)
{
	struct user_regs_struct r = tracee->registers;

	r.rip = tracee->syscall_instruction;
	r.rsp -= sizeof(r.rip); /* where the return address is */
	r.orig_rax = (uint64_t)-1;
	r.rax = (uint64_t)number;
	r.rdi = a;
	r.rsi = b;
	r.rdx = c;
	r.r10 = d;
	r.r8 = e;
	r.r9 = f;
	if (tracee->gone || TRACE(PTRACE_SETREGS, tracee, 0, &r))
		return -ESRCH;
	bool done = resume(tracee) && resume(tracee) && !TRACE(PTRACE_GETREGS, tracee, 0, &r);
	return reset(tracee) && done ? (long)r.rax : -ESRCH;
}

/* Through the system calls that the code makes, to the end of the one at `to`. */
static bool run_to(struct rqs_tracee *tracee, uint64_t to, uint64_t *result)
{
	struct user_regs_struct r;

	do {
		if (!resume(tracee) || TRACE(PTRACE_GETREGS, tracee, 0, &r))
			return false;
	} while (r.rip != to + RQS_SYSCALL_SIZE);
	*result = r.rbx;
	return resume(tracee);
}

bool rqs_tracee_run(struct rqs_tracee *tracee, uint64_t from, uint64_t stack, uint64_t to, uint64_t *result)
{
	struct user_regs_struct r = tracee->registers;

	r.rip = from;
	r.rsp = stack;
	r.orig_rax = (uint64_t)-1;
	if (tracee->gone || TRACE(PTRACE_SETREGS, tracee, 0, &r))
		return false;
	bool done = run_to(tracee, to, result);
	return reset(tracee) && done;
}
