/*
 * safe_point.c - see safe_point.h.
 *
 * First the threads are looked at from outside: one that waits in such a call
 * is stopped there. Where none waits, those that run are traced one after the
 * other, for a moment each, up to the end of the next such call.
 */
#include "inject/safe_point.h"

#include "inject/remote_symbols.h"
#include "inject/unwinding.h"
#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRACE(request, tid, address, data) rqs_sys4(SYS_ptrace, request, tid, address, data)
#define STOPPING_NS 1000000000ull /* it runs on until then */
#define FOLLOWED_NS 20000000ull /* a thread that runs */
#define PAUSE_NS 1000000        /* between two looks at all threads, at first */
#define PAUSE_LIMIT_NS 16000000
#define SCANNED (1u << 20) /* bytes of a stack that can't be unwound */
#define SYSCALL_STOP (SIGTRAP | 0x80)
#define SYSCALL_SIZE 2 /* of the instruction */
#define NEAR 4 /* functions of libc between one that waits and its system call */

/* How many looks are for better threads than these. */
#define ROUNDS_WITHOUT_LOCKED 8
/* Until then only those that have begun to wait since the last look. */
#define ROUNDS_WITHOUT_LIMITED 48
#define ROUNDS_OF_SHORT_PAUSES 64
#define LIMITED_THREADS 64

/* ---- what it waits for ---- */

enum waiting {
	NOT_SAFELY,
	HARMLESS, /* neither loaders nor allocators wait so */
	LIMITED,  /* likewise; interrupted and made again it waits for its whole time again */
	LOCKED,   /* for another thread: its stack has to tell what for */
};

struct system_call {
	long number;
	uint64_t arguments[6], stack, address; /* behind the instruction */
};

/* No futex, read, mmap, sched_yield. */
static bool is_harmless(long number)
{
	static const short list[] = {
	    SYS_epoll_wait,      SYS_epoll_pwait, SYS_epoll_pwait2,    SYS_poll,      SYS_ppoll,
	    SYS_select,          SYS_pselect6,    SYS_accept,          SYS_accept4,   SYS_recvfrom,
	    SYS_recvmsg,         SYS_recvmmsg,    SYS_wait4,           SYS_waitid,    SYS_nanosleep,
	    SYS_clock_nanosleep, SYS_pause,       SYS_rt_sigtimedwait, SYS_sendto,    SYS_sendmsg,
	    SYS_sendfile,        SYS_connect,     SYS_shutdown,        SYS_epoll_ctl, SYS_setsockopt,
	    SYS_getsockopt,      SYS_socket,      SYS_rt_sigsuspend,
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		if (list[i] == number)
			return true;
	return false;
}

static bool read_memory(int memory, uint64_t address, void *bytes, size_t size)
{
	return pread(memory, bytes, size, (off_t)address) == (ssize_t)size;
}

static bool is_behind_syscall(int memory, uint64_t address)
{
	uint8_t bytes[2];

	return read_memory(memory, address - 2, bytes, sizeof(bytes)) && bytes[0] == 0x0f && bytes[1] == 0x05;
}

/*
 * A wait with a limit that was interrupted once has another number, and goes
 * on only where it was. The instruction before may tell which it was: mov
 * $number, %eax; syscall. Else only a futex's arguments look like a futex's.
 */
static long number_before(int memory, const struct system_call *call)
{
	uint8_t bytes[7];
	uint32_t number;
	uint64_t operation = call->arguments[1] & ~0x180ull; /* private, by real time */

	if (read_memory(memory, call->address - sizeof(bytes), bytes, sizeof(bytes)) && bytes[0] == 0xb8) {
		memcpy(&number, bytes + 1, sizeof(number));
		return (long)number;
	}
	return (operation == 0 || operation == 9) && call->arguments[3] ? SYS_futex : SYS_poll;
}

/* Of a socket the limit isn't seen here; other waits the kernel makes again for the time that is left. */
static bool has_limit(long number, const uint64_t *arguments)
{
	switch (number) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
		return (int)arguments[3] > 0;
	case SYS_epoll_pwait2:
		return arguments[3] != 0;
	case SYS_rt_sigtimedwait:
		return arguments[2] != 0;
	default:
		return false;
	}
}

static enum waiting waiting_in(int memory, const struct system_call *call)
{
	long number = call->number == SYS_restart_syscall ? number_before(memory, call) : call->number;

	if (number == SYS_futex)
		return LOCKED;
	if (!is_harmless(number))
		return NOT_SAFELY;
	return has_limit(number, call->arguments) ? LIMITED : HARMLESS;
}

/* ---- all threads ---- */

struct hunt {
	pid_t pid;
	uint64_t deadline_ns;
	struct rqs_stopped *thread;
	int memory;
	struct rqs_unwinder *unwinder;
	struct rqs_remote_functions functions;
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

struct walk {
	const struct hunt *hunt;
	bool waits, unsafe, knows_eintr;
};

static uint64_t word_at(const struct hunt *hunt, uint64_t address)
{
	uint64_t word = 0;

	rqs_unwinder_read(hunt->unwinder, address, &word, sizeof(word));
	return word;
}

/* Of an instruction whose last four bytes are an offset from what is behind it. */
static uint64_t offset_from(uint64_t behind, const uint8_t *end)
{
	int32_t offset;

	memcpy(&offset, end - sizeof(offset), sizeof(offset));
	return behind + (uint64_t)(int64_t)offset;
}

/* Of a stub that jumps to where a variable says: what that says. */
static uint64_t through_stub(const struct hunt *hunt, uint64_t address)
{
	static const uint8_t mark[] = {0xf3, 0x0f, 0x1e, 0xfa};
	uint8_t bytes[11];

	if (rqs_unwinder_read(hunt->unwinder, address, bytes, sizeof(bytes)) != sizeof(bytes))
		return address;
	size_t at = memcmp(bytes, mark, sizeof(mark)) ? 0 : sizeof(mark);
	at += bytes[at] == 0xf2;
	if (at + 6 > sizeof(bytes) || bytes[at] != 0xff || bytes[at + 1] != 0x25)
		return address;
	return word_at(hunt, offset_from(address + at + 6, bytes + at + 6));
}

/* The function that was called from before the address, though it may have jumped to another one; 0 unknown. */
static uint64_t called_before(const struct hunt *hunt, uint64_t address)
{
	uint8_t bytes[6];

	if (rqs_unwinder_read(hunt->unwinder, address - sizeof(bytes), bytes, sizeof(bytes)) != sizeof(bytes))
		return 0;
	if (bytes[0] == 0xff && bytes[1] == 0x15)
		return word_at(hunt, offset_from(address, bytes + 6));
	return bytes[1] == 0xe8 ? through_stub(hunt, offset_from(address, bytes + 6)) : 0;
}

/* Somebody was killed who had called something in this thread: it isn't back yet. */
static bool is_call_of_ours(const struct hunt *hunt, uint64_t address)
{
	uint8_t head[RQS_REMOTE_HEAD];

	return rqs_unwinder_read(hunt->unwinder, address & ~(uint64_t)4095, head, sizeof(head)) == sizeof(head) &&
	       rqs_remote_is_code(head);
}

static bool see_function(void *data, unsigned depth, uint64_t address)
{
	struct walk *walk = data;
	bool waits = false, calls_wait = false;

	if (rqs_unwinder_in_loader(walk->hunt->unwinder, address) ||
	    (rqs_remote_is_in(&walk->hunt->functions, address, &waits) && !waits) ||
	    is_call_of_ours(walk->hunt, address))
		walk->unsafe = true;
	if (depth && depth <= NEAR &&
	    rqs_remote_is_in(&walk->hunt->functions, called_before(walk->hunt, address) + 1, &calls_wait))
		waits |= calls_wait;
	if (waits && depth <= NEAR)
		walk->waits = true;
	if (depth == 1)
		walk->knows_eintr = rqs_unwinder_knows_eintr(walk->hunt->unwinder, address);
	return !walk->unsafe;
}

/* Does the address lead to where signal handlers return to: mov $SYS_rt_sigreturn, %eax or %rax; syscall? */
static bool is_restorer(const struct hunt *hunt, uint64_t address)
{
	static const uint8_t shorter[] = {0xb8, 15, 0, 0, 0, 0x0f, 0x05};
	static const uint8_t longer[] = {0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05};
	uint8_t bytes[sizeof(longer)];

	return rqs_unwinder_read(hunt->unwinder, address, bytes, sizeof(bytes)) == sizeof(bytes) &&
	       (!memcmp(bytes, longer, sizeof(longer)) || !memcmp(bytes, shorter, sizeof(shorter)));
}

/* Is there a call before the address: e8 with four bytes, or ff with one to six? */
static bool follows_call(const struct hunt *hunt, uint64_t address)
{
	uint8_t bytes[7];

	if (rqs_unwinder_read(hunt->unwinder, address - sizeof(bytes), bytes, sizeof(bytes)) != sizeof(bytes))
		return false;
	return bytes[2] == 0xe8 || memchr(bytes, 0xff, 6);
}

static bool is_suspect(const struct hunt *hunt, uint64_t word)
{
	bool waits = false;

	if (!rqs_unwinder_is_code(hunt->unwinder, word))
		return false;
	if (is_restorer(hunt, word))
		return true;
	return (rqs_unwinder_in_loader(hunt->unwinder, word) ||
		(rqs_remote_is_in(&hunt->functions, word, &waits) && !waits)) &&
	       follows_call(hunt, word);
}

/*
 * Nothing is known of some function in the stack (made at run time, or of a
 * musl without tables). Whatever could be the return of a signal handler, or
 * to the loader or an allocator, is taken for one.
 */
static bool scan(const struct hunt *hunt, uint64_t stack)
{
	uint64_t end = rqs_unwinder_end(hunt->unwinder, stack), size = end - stack, *words;
	bool found = false;

	size = (size < SCANNED ? size : SCANNED) & ~7ull;
	words = end ? malloc(size + 1) : NULL;
	uint64_t got = words ? rqs_unwinder_read(hunt->unwinder, stack, words, size) : 0;
	for (uint64_t i = 0; i < got / 8 && !found; i++)
		found = is_suspect(hunt, words[i]);
	free(words);
	return got && !found;
}

static bool is_safe(struct hunt *hunt)
{
	const struct user_regs_struct *r = &hunt->thread->registers;
	struct system_call call = {(long)r->orig_rax, {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9}, r->rsp, r->rip};
	struct walk walk = {.hunt = hunt};
	enum waiting waiting = waiting_in(hunt->memory, &call);

	if (waiting == NOT_SAFELY || r->cs != 0x33 || !is_behind_syscall(hunt->memory, r->rip) ||
	    !rqs_unwinder_look(hunt->unwinder))
		return false;
	enum rqs_unwound end = rqs_unwind(hunt->unwinder, r, see_function, &walk);
	hunt->thread->knows_eintr = walk.knows_eintr;
	if (end == RQS_UNWOUND)
		return waiting != LOCKED || walk.waits;
	return end == RQS_UNKNOWN && waiting != LOCKED && scan(hunt, r->rsp);
}

static bool see_anything(void *data, unsigned depth, uint64_t address)
{
	(void)data, (void)depth, (void)address;
	return true;
}

/* What unwinding takes is read before the thread is stopped, as far as its stack can be followed without registers. */
static void look_ahead(struct hunt *hunt, const struct system_call *call)
{
	struct user_regs_struct registers = {.rsp = call->stack, .rip = call->address};

	if (rqs_unwinder_look(hunt->unwinder))
		rqs_unwind(hunt->unwinder, &registers, see_anything, NULL);
}

/* ---- a thread that runs ---- */

/* The next stop; false: it has ended, or not in time. */
static bool await(pid_t tid, uint64_t deadline_ns, int *status)
{
	const struct timespec moment = {.tv_nsec = 50000};
	pid_t got;

	while (!(got = waitpid(tid, status, __WALL | WNOHANG))) {
		if (rqs_tracee_now_ns() >= deadline_ns)
			return false;
		nanosleep(&moment, NULL);
	}
	return got == tid && WIFSTOPPED(*status);
}

/* Up to the end of a harmless call, or until the deadline. *status is of the last stop. False: it is not stopped. */
static bool follow(pid_t tid, uint64_t deadline_ns, int *status)
{
	struct user_regs_struct r;
	int pass = 0;

	for (;;) {
		if (TRACE(PTRACE_SYSCALL, tid, 0, pass) || !await(tid, deadline_ns, status))
			return false;
		if (rqs_tracee_event_of(*status))
			return true;
		pass = WSTOPSIG(*status) == SYSCALL_STOP ? 0 : WSTOPSIG(*status);
		if (!pass &&
		    (TRACE(PTRACE_GETREGS, tid, 0, &r) || ((int64_t)r.rax != -ENOSYS && is_harmless((long)r.orig_rax))))
			return true;
	}
}

/* To the kind of stop that was asked for, wherever it is. False: it has ended, or doesn't stop. */
static bool settle(struct rqs_stopped *thread, bool stopped, int status)
{
	uint64_t until = rqs_tracee_now_ns() + STOPPING_NS;

	if (!stopped || rqs_tracee_event_of(status) != PTRACE_EVENT_STOP) {
		TRACE(PTRACE_INTERRUPT, thread->tid, 0, 0);
		if (stopped)
			TRACE(PTRACE_CONT, thread->tid, 0, 0);
		while ((stopped = await(thread->tid, until, &status)) &&
		       rqs_tracee_event_of(status) != PTRACE_EVENT_STOP) {
			TRACE(PTRACE_INTERRUPT, thread->tid, 0, 0); /* any other stop has taken the last one away */
			TRACE(PTRACE_CONT, thread->tid, 0,
			      rqs_tracee_event_of(status) || WSTOPSIG(status) == SYSCALL_STOP ? 0 : WSTOPSIG(status));
		}
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

static bool read_line(const struct hunt *hunt, pid_t tid, const char *name, char *line, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)hunt->pid, (int)tid, name);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = file < 0 ? -1 : read(file, line, size - 1);
	if (file >= 0)
		close(file);
	line[got > 0 ? got : 0] = '\0';
	return got > 0;
}

/* R, S, T, ... of proc(5); 'X' it has ended. */
static char state_of(const struct hunt *hunt, pid_t tid)
{
	char line[512];
	const char *name_end = read_line(hunt, tid, "stat", line, sizeof(line)) ? strrchr(line, ')') : NULL;

	return name_end && name_end[1] ? name_end[2] : 'X';
}

static uint64_t count_waits(const struct hunt *hunt, pid_t tid)
{
	char text[4096];
	const char *at = read_line(hunt, tid, "status", text, sizeof(text)) ? strstr(text, "\nvoluntary_ctxt_switches:")
									     : NULL;

	return at ? strtoull(strchr(at, ':') + 1, NULL, 10) : 0;
}

/* Has it begun to wait a moment ago? Then little is lost where it does so again. */
static bool has_just_begun(struct hunt *hunt, pid_t tid)
{
	uint64_t waits = count_waits(hunt, tid);
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
	struct system_call call;
	uint64_t *a = call.arguments;
	char line[256];

	if (!read_line(hunt, tid, "syscall", line, sizeof(line)))
		return false;
	if (!strncmp(line, "running", 7))
		return hunt->running;
	if (sscanf(line, "%ld %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
			 " %" SCNx64,
		   &call.number, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &call.stack, &call.address) != 9)
		return false;
	enum waiting waiting = waiting_in(hunt->memory, &call);
	if (waiting == NOT_SAFELY || (waiting == LOCKED && hunt->round < ROUNDS_WITHOUT_LOCKED) ||
	    (waiting == LIMITED && hunt->round < ROUNDS_WITHOUT_LIMITED && !has_just_begun(hunt, tid)))
		return false;
	look_ahead(hunt, &call);
	return true;
}

/* If we are killed from here on it makes its call again; released, it is given what it really had. */
static void keep_call(struct rqs_stopped *thread)
{
	struct user_regs_struct again = thread->registers;

	if ((int64_t)again.orig_rax < 0 || (int64_t)again.rax != -EINTR)
		return;
	again.rip -= SYSCALL_SIZE;
	again.rax = again.orig_rax;
	thread->changed = !TRACE(PTRACE_SETREGS, thread->tid, 0, &again);
}

static int try_thread(struct hunt *hunt, pid_t tid)
{
	int error = rqs_thread_stop(hunt->thread, hunt->pid, tid, rqs_tracee_now_ns() + STOPPING_NS);

	if (error == -EPERM && state_of(hunt, tid) != 'X')
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
	char state = state_of(hunt, tid);

	if (strchr("XZx", state))
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

	return hunt->functions.count && !read_memory(hunt->memory, hunt->functions.all[0].start, &byte, sizeof(byte));
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
	hunt->unwinder = rqs_unwinder_new(pid, memory);
	if (hunt->unwinder) {
		rqs_remote_functions(pid, memory, &hunt->functions);
		error = search(hunt);
	}
	rqs_unwinder_free(hunt->unwinder);
	free(hunt);
	return error;
}
