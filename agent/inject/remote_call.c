/*
 * remote_call.c - see remote_call.h.
 *
 *    room: | nothing | stack | data | code |
 *
 * The way back (frame.h) lies where a signal's would: below what the thread's
 * own stack holds. Whenever we may be killed the thread has registers that
 * lead there.
 *
 * A function runs untraced but for its signals: a stop at each of its system
 * calls would take ten times as long. That it has ended is looked for in
 * memory, while the thread waits for a moment.
 */
#include "inject/remote_call.h"

#include "inject/frame.h"
#include "os/sys.h"

#include "reqscope/attach_words.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRACE(request, tid, address, data) rqs_sys4(SYS_ptrace, request, tid, address, data)
#define PAGE 4096u
#define DATA_AT (PAGE + RQS_ATTACH_STACK)
#define CODE_AT (DATA_AT + RQS_REMOTE_DATA)
#define ROOM_SIZE (CODE_AT + PAGE)
#define RED_ZONE 128u
#define STOP_MS 1000
#define LOOK_NS 20000   /* for the end of a function */
#define PATIENCE_MS 500 /* of the thread that has ended it */

/* The last words of the data: the code itself can't be written. */
struct words {
	uint64_t function, a, b, result, done;
	struct timespec patience;
	uint64_t frame;
};
#define WORDS_AT (CODE_AT - sizeof(struct words))

static const uint8_t code[] = {
    0xfc,                                  /* cld */
    0x4c, 0x8d, 0x1d, 0,    0, 0, 0,       /* lea words(%rip), %r11: filled in */
    0x49, 0x8b, 0x03,                      /* mov (%r11), %rax */
    0x49, 0x8b, 0x7b, 0x08,                /* mov 8(%r11), %rdi */
    0x49, 0x8b, 0x73, 0x10,                /* mov 16(%r11), %rsi */
    0xff, 0xd0,                            /* call *%rax */
    0x4c, 0x8d, 0x1d, 0,    0, 0, 0,       /* lea words(%rip), %r11: filled in */
    0x49, 0x89, 0x43, 0x18,                /* mov %rax, 24(%r11) */
    0x49, 0xc7, 0x43, 0x20, 1, 0, 0, 0,    /* movq $1, 32(%r11): done */
    0x31, 0xff, 0x31, 0xf6,                /* xor %edi, %edi; xor %esi, %esi */
    0x49, 0x8d, 0x53, 0x28,                /* lea 40(%r11), %rdx */
    0x45, 0x31, 0xd2, 0x45, 0x31, 0xc0,    /* xor %r10d, %r10d; xor %r8d, %r8d */
    0xb8, 0x0f, 0x01, 0,    0,             /* mov $SYS_ppoll, %eax: interrupted, it leaves nothing in the kernel */
    0x0f, 0x05,                            /* syscall */
    0x48, 0x8b, 0x25, 0,    0, 0, 0,       /* mov words.frame(%rip), %rsp: filled in */
    0xb8, 0x0f, 0,    0,    0,             /* mov $SYS_rt_sigreturn, %eax */
    0x0f, 0x05,                            /* syscall */
};
#define WORDS_OPERAND 4
#define WORDS_OPERAND_AGAIN 24
#define FRAME_OPERAND 64

bool rqs_remote_is_code(const uint8_t *page)
{
	return !memcmp(page, code, WORDS_OPERAND) &&
	       !memcmp(page + WORDS_OPERAND + sizeof(int32_t), code + WORDS_OPERAND + sizeof(int32_t),
		       WORDS_OPERAND_AGAIN - WORDS_OPERAND - sizeof(int32_t));
}

static void set_offset(uint8_t *bytes, size_t operand, size_t to)
{
	int32_t value = (int32_t)((int64_t)to - (int64_t)(CODE_AT + operand + sizeof(value)));

	memcpy(bytes + operand, &value, sizeof(value));
}

static bool write_code(struct rqs_remote *remote)
{
	uint8_t bytes[sizeof(code)];

	_Static_assert(offsetof(struct words, result) == 24 && offsetof(struct words, done) == 32 &&
			   offsetof(struct words, patience) == 40,
		       "as the code has it");
	memcpy(bytes, code, sizeof(code));
	set_offset(bytes, WORDS_OPERAND, WORDS_AT);
	set_offset(bytes, WORDS_OPERAND_AGAIN, WORDS_AT);
	set_offset(bytes, FRAME_OPERAND, WORDS_AT + offsetof(struct words, frame));
	return rqs_tracee_write(&remote->tracee, remote->room + CODE_AT, bytes, sizeof(bytes));
}

/* ---- the way back without us ---- */

/*
 * From here on the thread returns by itself, if it has to. Signals that are
 * raised by instructions aren't blocked: the kernel would forget who handles
 * them.
 */
static int prepare_return(struct rqs_remote *remote)
{
	struct rqs_tracee *tracee = &remote->tracee;
	uint64_t faults = 1u << (SIGSEGV - 1) | 1u << (SIGBUS - 1) | 1u << (SIGILL - 1) | 1u << (SIGFPE - 1) |
			  1u << (SIGTRAP - 1) | 1u << (SIGSYS - 1);
	uint64_t blocked = ~faults | tracee->mask;

	remote->frame = (tracee->registers.rsp - RED_ZONE - rqs_frame_size(tracee)) & ~(uint64_t)63;
	uint64_t return_at = remote->frame - sizeof(remote->ways->restorer); /* of a system call that we make */
	if (!rqs_frame_write(tracee, remote->frame) ||
	    !rqs_tracee_write(tracee, return_at, &remote->ways->restorer, sizeof(remote->ways->restorer)))
		return -ENOMEM;
	tracee->registers.rip = remote->ways->restorer;
	tracee->registers.rsp = remote->frame;
	tracee->registers.orig_rax = (uint64_t)-1;
	tracee->syscall_instruction = remote->ways->syscall_return;
	if (TRACE(PTRACE_SETREGS, tracee->pid, 0, &tracee->registers) ||
	    TRACE(PTRACE_SETSIGMASK, tracee->pid, sizeof(blocked), &blocked))
		return -ESRCH;
	return 0;
}

/* ---- calls ---- */

static int map_room(struct rqs_remote *remote)
{
	struct rqs_tracee *tracee = &remote->tracee;
	long room = rqs_tracee_call(tracee, SYS_mmap, 0, ROOM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				    (uint64_t)-1, 0);

	if (room < 0)
		return (int)room;
	remote->room = (uint64_t)room;
	remote->data = remote->room + DATA_AT;
	if (!write_code(remote))
		return -EIO;
	long error =
	    rqs_tracee_call(tracee, SYS_mprotect, remote->room + CODE_AT, PAGE, PROT_READ | PROT_EXEC, 0, 0, 0);
	if (!error)
		error = rqs_tracee_call(tracee, SYS_mprotect, remote->room, PAGE, PROT_NONE, 0, 0, 0);
	return (int)error;
}

int rqs_remote_begin(struct rqs_remote *remote, struct rqs_stopped *thread, const struct rqs_remote_ways *ways,
		     uint64_t deadline_ns)
{
	remote->thread = thread;
	remote->ways = ways;
	remote->room = remote->data = 0;
	remote->left = false;
	prctl(PR_SET_TIMERSLACK, 1);
	int error = rqs_thread_borrow(&remote->tracee, thread, deadline_ns);
	if (!error)
		error = prepare_return(remote);
	return error ? error : map_room(remote);
}

/* Raised by an instruction, not by somebody. */
static bool is_fault(pid_t tid)
{
	siginfo_t info;

	return !TRACE(PTRACE_GETSIGINFO, tid, 0, &info) && info.si_code > 0;
}

/* What the thread is to be given when it goes on from a signal's stop; others than those that stop it come later. */
static int pass_on(struct rqs_remote *remote, int status)
{
	int signal_ = WSTOPSIG(status);

	if (rqs_tracee_event_of(status))
		return 0;
	if (rqs_stops(signal_))
		return signal_;
	if (signal_ != SIGCONT)
		remote->tracee.postponed |= 1ull << (signal_ - 1);
	return 0;
}

static bool has_ended(struct rqs_remote *remote)
{
	uint64_t done = 0;

	return rqs_tracee_read(&remote->tracee, remote->room + WORDS_AT + offsetof(struct words, done), &done,
			       sizeof(done)) &&
	       done;
}

enum run { ENDED, FAULTED, LATE, GONE };

/* To the function's end. Only after FAULTED is it stopped. */
static enum run run_to_end(struct rqs_remote *remote)
{
	const struct timespec moment = {.tv_nsec = LOOK_NS};
	pid_t tid = remote->thread->tid, got;
	int status;

	while (!has_ended(remote)) {
		got = waitpid(tid, &status, __WALL | WNOHANG);
		if (got < 0 || (got == tid && !WIFSTOPPED(status)))
			return GONE;
		if (got == tid) {
			if (!rqs_tracee_event_of(status) && is_fault(tid))
				return FAULTED;
			TRACE(PTRACE_CONT, tid, 0, pass_on(remote, status));
			continue;
		}
		if (rqs_tracee_now_ns() >= remote->tracee.deadline_ns)
			return LATE;
		nanosleep(&moment, NULL);
	}
	return ENDED;
}

/* It is stopped wherever it is. */
static bool interrupt(struct rqs_remote *remote)
{
	const struct timespec moment = {.tv_nsec = LOOK_NS};
	uint64_t until = rqs_tracee_now_ns() + STOP_MS * 1000000ull;
	pid_t tid = remote->thread->tid, got;
	int status;

	TRACE(PTRACE_INTERRUPT, tid, 0, 0);
	for (;;) {
		got = waitpid(tid, &status, __WALL | WNOHANG);
		if (got == tid && WIFSTOPPED(status)) {
			if (rqs_tracee_event_of(status) == PTRACE_EVENT_STOP)
				return true;
			TRACE(PTRACE_INTERRUPT, tid, 0, 0);
			TRACE(PTRACE_CONT, tid, 0, pass_on(remote, status));
		} else if (got || rqs_tracee_now_ns() >= until) {
			return false;
		} else {
			nanosleep(&moment, NULL);
		}
	}
}

/* A thread that we let wait for too long has gone back by itself. */
static bool is_in_code(struct rqs_remote *remote)
{
	struct user_regs_struct r;

	return !TRACE(PTRACE_GETREGS, remote->thread->tid, 0, &r) && r.rip - (remote->room + CODE_AT) < sizeof(code);
}

bool rqs_remote_call(struct rqs_remote *remote, uint64_t function, uint64_t a, uint64_t b, uint64_t *result)
{
	struct rqs_tracee *tracee = &remote->tracee;
	struct words words = {.function = function, .a = a, .b = b, .patience = {.tv_nsec = PATIENCE_MS * 1000000}};
	struct user_regs_struct r = tracee->registers;
	pid_t tid = remote->thread->tid;

	words.frame = remote->frame;
	r.rip = remote->room + CODE_AT;
	r.rsp = remote->room + DATA_AT;
	if (tracee->gone || remote->left ||
	    !rqs_tracee_write(tracee, remote->room + WORDS_AT, &words, sizeof(words)) ||
	    TRACE(PTRACE_SETREGS, tid, 0, &r) || TRACE(PTRACE_CONT, tid, 0, 0))
		return false;
	enum run run = run_to_end(remote);
	if (run == GONE) {
		tracee->gone = true;
		return false;
	}
	bool stopped = run == FAULTED || interrupt(remote);
	tracee->gone = !stopped;
	remote->left = !stopped || run == LATE || (run == ENDED && !is_in_code(remote));
	if (!remote->left && TRACE(PTRACE_SETREGS, tid, 0, &tracee->registers))
		return false;
	return run == ENDED && rqs_tracee_read(tracee, remote->room + WORDS_AT + offsetof(struct words, result), result,
					       sizeof(*result));
}

/* ---- the end ---- */

/* It goes on by itself, from wherever it is. */
static void leave(struct rqs_remote *remote)
{
	struct rqs_stopped *thread = remote->thread;

	rqs_thread_close(&remote->tracee);
	thread->changed = false;
	thread->settled = TRACE(PTRACE_GETREGS, thread->tid, 0, &thread->registers); /* it runs, or has ended */
}

void rqs_remote_end(struct rqs_remote *remote)
{
	struct rqs_stopped *thread = remote->thread;

	if (remote->left) {
		leave(remote);
		return;
	}
	if (remote->room)
		rqs_tracee_call(&remote->tracee, SYS_munmap, remote->room, ROOM_SIZE, 0, 0, 0, 0);
	rqs_thread_give_back(&remote->tracee, thread);
	for (int signal_ = 1; signal_ <= 64; signal_++)
		if (remote->tracee.postponed >> (signal_ - 1) & 1)
			rqs_sys3(SYS_tgkill, thread->pid, thread->tid, signal_);
}
