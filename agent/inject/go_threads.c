/* go_threads.c - see go_threads.h. */
#include "inject/go_threads.h"

#include "go/layout.h"
#include "inject/interrupted.h"
#include "os/sys.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define STEPS_MAX 16
#define STUB_OF_SYSCALL_MAX 512 /* from the first hook of a system call to the one behind it */

/* A number that the hook behind a system call makes nothing of. */
#define NOTHING SYS_epoll_pwait

/* ---- where a thread is ---- */

static bool is_in_patch(const struct rqs_change *change, uint64_t at)
{
	for (size_t i = 0; i < change->patch_count; i++)
		if (at > change->patches[i].address && at < change->patches[i].address + change->patches[i].length)
			return true;
	return false;
}

/* The first hook of the system call whose other one is at `done`. */
static uint64_t begin_of(const struct rqs_plan *plan, uint64_t done)
{
	uint64_t begin = done - RQS_SYSCALL_SIZE;

	for (size_t i = 0; i < plan->site_count; i++) {
		const struct rqs_site *site = &plan->sites[i];

		if (site->kind == RQS_SITE_SYSCALL_LOADED && site->address < begin &&
		    done - site->address < STUB_OF_SYSCALL_MAX)
			begin = site->address;
	}
	return begin;
}

/* Past the hook before a system call, and not yet past the one behind it. */
static bool is_in_call(const struct rqs_change *change, uint64_t at)
{
	for (size_t i = 0; i < change->plan->site_count; i++) {
		const struct rqs_site *site = &change->plan->sites[i];

		if (site->kind == RQS_SITE_SYSCALL_DONE && at <= site->address + change->bias &&
		    at > begin_of(change->plan, site->address) + change->bias)
			return true;
	}
	return false;
}

static bool is_placed(const struct rqs_change *change, uint64_t at)
{
	return at >= change->placed && at < change->placed_end;
}

/* ---- what a signal has interrupted ---- */

/* Of the frame that the kernel makes for a handler (arch/x86: struct rt_sigframe), from its return address on. */
#define FRAME_R12 80
#define FRAME_RIP 176
#define FRAME_SIZE 184
#define SIGNAL_STACK 65536u
#define PIECE 4096u

static const uint8_t syscall_code[RQS_SYSCALL_SIZE] = {0x0f, 0x05};

static bool bytes_at(const struct rqs_change *change, uint64_t at, const uint8_t code[RQS_SYSCALL_SIZE])
{
	uint8_t now[RQS_SYSCALL_SIZE];

	return pread(change->memory, now, sizeof(now), (off_t)at) == (ssize_t)sizeof(now) &&
	       !memcmp(now, code, sizeof(now));
}

typedef bool is_bad(const struct rqs_change *change, uint64_t rip, uint64_t r12);

/* Go's handlers have all signals blocked while they run. */
static bool may_run_handler(const struct rqs_stopped *thread)
{
	uint64_t mask = 0;

	return rqs_sys4(SYS_ptrace, PTRACE_GETSIGMASK, thread->tid, sizeof(mask), &mask) ||
	       (mask >> (SIGURG - 1) & 1) || (mask >> (SIGPROF - 1) & 1);
}

/* mov $15,%eax; syscall */
static const uint8_t eax[] = {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05};
static const uint8_t rax[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};

uint64_t rqs_go_find_sigreturn(int memory, uint64_t from, uint64_t to)
{
	static uint8_t bytes[1u << 20];

	for (uint64_t at = from; at < to;) {
		size_t n = to - at < sizeof(bytes) ? (size_t)(to - at) : sizeof(bytes);

		if (pread(memory, bytes, n, (off_t)at) != (ssize_t)n)
			return 0;
		const uint8_t *found = memmem(bytes, n, eax, sizeof(eax));
		found = found ? found : memmem(bytes, n, rax, sizeof(rax));
		if (found)
			return at + (uint64_t)(found - bytes);
		if (n < sizeof(bytes))
			return 0;
		at += n - sizeof(rax); /* it may lie across the end */
	}
	return 0;
}

static bool returns_from_handler(const struct rqs_change *change, uint64_t at)
{
	uint8_t code[sizeof(rax)];

	return pread(change->memory, code, sizeof(code), (off_t)at) == (ssize_t)sizeof(code) &&
	       (!memcmp(code, eax, sizeof(eax)) || !memcmp(code, rax, sizeof(rax)));
}

static bool has_bad_frame(const struct rqs_change *change, const uint8_t *bytes, size_t size, is_bad *bad)
{
	for (size_t at = 0; at + FRAME_SIZE <= size; at += sizeof(uint64_t)) {
		uint64_t back, rip, r12;

		memcpy(&back, bytes + at, sizeof(back));
		memcpy(&rip, bytes + at + FRAME_RIP, sizeof(rip));
		memcpy(&r12, bytes + at + FRAME_R12, sizeof(r12));
		if (bad(change, rip, r12) && returns_from_handler(change, back))
			return true;
	}
	return false;
}

static bool interrupted_badly(const struct rqs_change *change, const struct rqs_stopped *thread, is_bad *bad)
{
	static uint8_t bytes[SIGNAL_STACK];
	uint64_t from = thread->registers.rsp & ~7ull;
	size_t size = 0;

	if (!may_run_handler(thread))
		return false;
	/* As much as there is, to a page's end each. */
	while (size < sizeof(bytes)) {
		size_t n = PIECE - (from + size) % PIECE;

		n = n < sizeof(bytes) - size ? n : sizeof(bytes) - size;
		if (pread(change->memory, bytes + size, n, (off_t)(from + size)) != (ssize_t)n)
			break;
		size += n;
	}
	return has_bad_frame(change, bytes, size, bad);
}

void rqs_go_thread_knows_eintr(struct rqs_stopped *thread, const struct rqs_change *change)
{
	uint64_t at = thread->registers.rip - change->bias;

	thread->knows_eintr = at >= change->plan->text_start && at <= change->plan->text_end;
}

bool rqs_go_thread_is_elsewhere(const struct rqs_stopped *thread, const struct rqs_change *change)
{
	uint64_t at = thread->registers.rip - change->bias;

	if (may_run_handler(thread) || is_in_call(change, thread->registers.rip) ||
	    is_placed(change, thread->registers.rip))
		return false;
	for (size_t i = 0; i < change->plan->site_count; i++)
		if (at >= change->plan->sites[i].address &&
		    at < change->plan->sites[i].address + change->plan->sites[i].length)
			return false;
	return true;
}

/* ---- in ---- */

static bool enters_badly(const struct rqs_change *change, uint64_t rip, uint64_t r12)
{
	(void)r12;
	return is_in_patch(change, rip) || is_in_call(change, rip);
}

static bool step_out(struct rqs_stopped *thread, const struct rqs_change *change)
{
	for (int n = 0; is_in_patch(change, thread->registers.rip); n++)
		if (n == STEPS_MAX || !rqs_thread_step(thread))
			return false;
	return true;
}

/* Behind its SYSCALL instruction, with the number still known, the call's result is as good as any other. */
static void tell_call(struct rqs_stopped *thread, const struct rqs_change *change)
{
	struct user_regs_struct *r = &thread->registers;

	if (!is_in_call(change, r->rip))
		return;
	r->r12 = (long)r->orig_rax >= 0 ? r->orig_rax : NOTHING;
	r->r13 = 0;
	thread->changed = true;
}

int rqs_go_threads_enter(struct rqs_threads *threads, const struct rqs_change *change)
{
	for (size_t i = 0; i < threads->count; i++)
		if (!threads->all[i].gone && interrupted_badly(change, &threads->all[i], enters_badly))
			return -EAGAIN;
	for (size_t i = 0; i < threads->count; i++) {
		struct rqs_stopped *thread = &threads->all[i];

		rqs_go_thread_knows_eintr(thread, change);
		if (thread->gone)
			continue;
		if (!step_out(thread, change))
			return -EAGAIN;
		tell_call(thread, change);
	}
	return 0;
}

/* ---- out ---- */

/* Of struct msghdr, as entries.S writes it. */
#define MESSAGE_VECTOR 16

static bool is_stamped(const struct rqs_change *change, uint64_t rip, uint64_t r12)
{
	return r12 == CALL_STAMPED && is_in_call(change, rip);
}

static bool leaves_badly(const struct rqs_change *change, uint64_t rip, uint64_t r12)
{
	return is_placed(change, rip) || is_stamped(change, rip, r12);
}

/* Errors that a read wouldn't have: the hook makes the read then, and so do we. */
static bool is_our_error(long result)
{
	return result == -ENOTSOCK || result == -EPERM || result == -ENOSYS;
}

static bool is_interrupted(long result)
{
	return result == -EINTR || rqs_is_restarted(result);
}

/*
 * A read that was made a recvmsg. What has come is where the read would have put
 * it, and that is the end of it. One that was interrupted by the stop, or has yet to be
 * made, is made as the read that it was.
 */
static bool make_read(struct rqs_stopped *thread, const struct rqs_change *change)
{
	struct user_regs_struct *r = &thread->registers;
	struct iovec where = {0};
	uint64_t vector = 0;
	bool made = bytes_at(change, r->rip - RQS_SYSCALL_SIZE, syscall_code);

	if (!made && !bytes_at(change, r->rip, syscall_code))
		return false;
	if (!made || is_our_error((long)r->rax) || is_interrupted((long)r->rax)) {
		if (pread(change->memory, &vector, sizeof(vector), (off_t)(r->r13 + MESSAGE_VECTOR)) !=
			sizeof(vector) ||
		    pread(change->memory, &where, sizeof(where), (off_t)vector) != sizeof(where))
			return false;
		r->rax = SYS_read;
		r->orig_rax = (uint64_t)-1;
		r->rsi = (uint64_t)where.iov_base;
		r->rdx = where.iov_len;
		r->rip -= made ? RQS_SYSCALL_SIZE : 0;
	}
	r->r12 = NOTHING;
	r->r13 = 0;
	thread->changed = true;
	return true;
}

int rqs_go_threads_leave(struct rqs_threads *threads, const struct rqs_change *change)
{
	for (size_t i = 0; i < threads->count; i++) {
		const struct rqs_stopped *thread = &threads->all[i];

		if (!thread->gone &&
		    (is_placed(change, thread->registers.rip) || interrupted_badly(change, thread, leaves_badly)))
			return -EAGAIN;
	}
	for (size_t i = 0; i < threads->count; i++) {
		struct rqs_stopped *thread = &threads->all[i];

		rqs_go_thread_knows_eintr(thread, change);
		if (!thread->gone && is_stamped(change, thread->registers.rip, thread->registers.r12) &&
		    !make_read(thread, change))
			return -EAGAIN;
	}
	return 0;
}
