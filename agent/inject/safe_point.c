/*
 * safe_point.c - see safe_point.h.
 *
 * First the threads are looked at from outside: one that waits in such a call
 * is stopped there. Where none waits, those that run are traced one after the
 * other, for a moment each, up to the end of the next such call.
 */
#include "inject/safe_point.h"

#include "inject/mappings.h"
#include "inject/remote_symbols.h"
#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <libunwind-ptrace.h>
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
#define STOPPING_NS 200000000ull
#define FOLLOWED_NS 20000000ull /* a thread that runs */
#define PAUSE_NS 1000000        /* between two looks at all threads */
#define FRAMES 4096             /* a stack that is deeper is taken for one that doesn't end */
#define SCANNED (1u << 20)      /* bytes of a stack that can't be unwound */
#define SYSCALL_STOP (SIGTRAP | 0x80)

/* Neither made by loaders nor by allocators: no futex, read, mmap, sched_yield. */
static bool is_harmless(long number)
{
	static const short list[] = {
	    SYS_epoll_wait,      SYS_epoll_pwait, SYS_epoll_pwait2,    SYS_poll,      SYS_ppoll,
	    SYS_select,          SYS_pselect6,    SYS_accept,          SYS_accept4,   SYS_recvfrom,
	    SYS_recvmsg,         SYS_recvmmsg,    SYS_wait4,           SYS_waitid,    SYS_nanosleep,
	    SYS_clock_nanosleep, SYS_pause,       SYS_rt_sigtimedwait, SYS_sendto,    SYS_sendmsg,
	    SYS_sendfile,        SYS_connect,     SYS_shutdown,        SYS_epoll_ctl, SYS_setsockopt,
	    SYS_getsockopt,      SYS_socket,
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		if (list[i] == number)
			return true;
	return false;
}

/* ---- is it safe there? ---- */

struct whereabouts {
	uint64_t stack, stack_end;
	uint64_t loader[16][2]; /* where its code lies */
	unsigned loaders;
};

static bool note_mapping(const struct rqs_mapping *mapping, void *context)
{
	struct whereabouts *where = context;

	if (mapping->start <= where->stack && where->stack < mapping->end)
		where->stack_end = mapping->end;
	if (mapping->executable && rqs_is_loader(mapping->path) && where->loaders < 16) {
		where->loader[where->loaders][0] = mapping->start;
		where->loader[where->loaders++][1] = mapping->end;
	}
	return false;
}

static bool in_loader(const struct whereabouts *where, uint64_t address)
{
	for (unsigned i = 0; i < where->loaders; i++)
		if (where->loader[i][0] <= address && address < where->loader[i][1])
			return true;
	return false;
}

enum verdict { SAFE, UNSAFE, UNKNOWN };

/* Libunwind goes on by guesses where it knows nothing of a function: that is told by its size. */
static bool is_guessed(unw_cursor_t *cursor)
{
	unw_proc_info_t about;

	return unw_get_proc_info(cursor, &about) || about.end_ip <= about.start_ip + 1;
}

static enum verdict unwind(unw_cursor_t *cursor, const struct whereabouts *where)
{
	for (int i = 0; i < FRAMES; i++) {
		unw_word_t ip = 0;

		unw_get_reg(cursor, UNW_REG_IP, &ip);
		if (unw_is_signal_frame(cursor) > 0 || in_loader(where, ip))
			return UNSAFE;
		if (is_guessed(cursor))
			return UNKNOWN;
		int more = unw_step(cursor);
		if (more <= 0)
			return more ? UNKNOWN : SAFE;
	}
	return UNKNOWN;
}

static enum verdict unwind_all(const struct rqs_stopped *thread, const struct whereabouts *where)
{
	enum verdict verdict = UNKNOWN;
	unw_cursor_t cursor;
	unw_addr_space_t space = unw_create_addr_space(&_UPT_accessors, 0);
	void *context = _UPT_create(thread->tid);

	if (space && context && !unw_init_remote(&cursor, space, context))
		verdict = unwind(&cursor, where);
	if (context)
		_UPT_destroy(context);
	if (space)
		unw_destroy_addr_space(space);
	return verdict;
}

/* Does the address lead to where signal handlers return to: mov $SYS_rt_sigreturn, %eax or %rax; syscall? */
static bool is_restorer(int memory, uint64_t address)
{
	static const uint8_t shorter[] = {0xb8, 15, 0, 0, 0, 0x0f, 0x05};
	static const uint8_t longer[] = {0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05};
	uint8_t bytes[sizeof(longer)];

	return pread(memory, bytes, sizeof(bytes), (off_t)address) == (ssize_t)sizeof(bytes) &&
	       (!memcmp(bytes, longer, sizeof(longer)) || !memcmp(bytes, shorter, sizeof(shorter)));
}

/*
 * Nothing is known of some function in the stack (made at run time, or of a
 * musl without tables). Whatever could be the return of a signal handler is
 * taken for one.
 */
static enum verdict scan(int memory, const struct whereabouts *where)
{
	uint64_t size = where->stack_end - where->stack, *words;
	bool found = false;
	ssize_t got = -1;

	size = (size < SCANNED ? size : SCANNED) & ~7ull;
	words = malloc(size ? size : 1);
	if (words)
		got = pread(memory, words, size, (off_t)where->stack);
	for (ssize_t i = 0; i < got / 8 && !found; i++)
		found = words[i] >= 4096 && words[i] >> 47 == 0 && is_restorer(memory, words[i]);
	free(words);
	return got > 0 && !found ? SAFE : UNSAFE;
}

static bool is_behind_syscall(int memory, uint64_t address)
{
	uint8_t bytes[2];

	return pread(memory, bytes, sizeof(bytes), (off_t)address - 2) == 2 && bytes[0] == 0x0f && bytes[1] == 0x05;
}

static bool is_safe(const struct rqs_stopped *thread)
{
	const struct user_regs_struct *r = &thread->registers;
	struct whereabouts where = {.stack = r->rsp};
	enum verdict verdict = UNSAFE;
	char path[64];

	if (!is_harmless((long)r->orig_rax) || r->cs != 0x33)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)thread->pid);
	int memory = open(path, O_RDONLY | O_CLOEXEC);
	if (memory < 0)
		return false;
	rqs_each_mapping(thread->pid, note_mapping, &where);
	if (is_behind_syscall(memory, r->rip) && where.stack_end)
		verdict = unwind_all(thread, &where);
	if (verdict == UNKNOWN)
		verdict = scan(memory, &where);
	close(memory);
	return verdict == SAFE;
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
	thread->gone = !settle(thread, stopped, status);
	return !thread->gone;
}

/* ---- all threads ---- */

struct hunt {
	pid_t pid;
	uint64_t deadline_ns;
	struct rqs_stopped *thread;
	bool running; /* those that run are looked for */
	int seen, stopped_by_signal;
	int result; /* 0 found, -EAGAIN go on, -errno */
};

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

static bool fits(const struct hunt *hunt, pid_t tid)
{
	char line[256];

	if (!read_line(hunt, tid, "syscall", line, sizeof(line)))
		return false;
	if (!strncmp(line, "running", 7))
		return hunt->running;
	return is_harmless(strtol(line, NULL, 10));
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
	if (is_safe(hunt->thread))
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
	if (strchr("Tt", state))
		hunt->stopped_by_signal++;
	else if (fits(hunt, tid))
		hunt->result = try_thread(hunt, tid);
	return hunt->result == -EAGAIN && rqs_tracee_now_ns() < hunt->deadline_ns;
}

int rqs_safe_point(struct rqs_stopped *thread, pid_t pid, uint64_t deadline_ns)
{
	const struct timespec pause_ = {.tv_nsec = PAUSE_NS};
	struct hunt hunt = {.pid = pid, .deadline_ns = deadline_ns, .thread = thread, .result = -EAGAIN};

	for (int round = 0;; round++) {
		hunt.running = round % 8 == 7; /* waited for first: that costs nobody anything */
		hunt.seen = hunt.stopped_by_signal = 0;
		rqs_threads_list(pid, visit, &hunt);
		if (hunt.result != -EAGAIN)
			return hunt.result;
		if (!hunt.seen)
			return -ESRCH;
		if (rqs_tracee_now_ns() >= deadline_ns)
			return hunt.stopped_by_signal ? -EAGAIN : -ETIMEDOUT;
		nanosleep(&pause_, NULL);
	}
}
