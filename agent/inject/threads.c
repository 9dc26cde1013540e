/* threads.c - see threads.h. */
#include "inject/threads.h"

#include "inject/interrupted.h"
#include "inject/task.h"
#include "os/sys.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GIVING_BACK_NS 1000000000ull
#define TURN_NS 500000000ull
#define TURN_STEP_NS 5000000ull
#define TRACE(request, tid, address, data) rqs_sys4(SYS_ptrace, request, tid, address, data)

/* ---- waiting ---- */

static sigset_t child_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	return set;
}

/* Ignored it wouldn't come, and not blocked it would be lost. */
static void expect_children(void)
{
	sigset_t child = child_signal();

	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, &child, NULL);
}

/* The next stop of one thread: 0; -ESRCH it has ended, -ETIMEDOUT. */
int rqs_thread_next_stop(pid_t tid, uint64_t deadline_ns, int *status)
{
	sigset_t child = child_signal();

	for (;;) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);
		uint64_t now = rqs_tracee_now_ns();
		/* One signal may be for many threads: it is asked again now and then. */
		struct timespec moment = {.tv_nsec = 500000};

		if (got == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (got < 0 && errno != EINTR)
			return -ESRCH;
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		if (sigtimedwait(&child, NULL, &moment) < 0)
			rqs_tracee_reap();
	}
}

/* Waits for the stop that was asked for. Signals that come first begin to act, as they would have. */
int rqs_thread_await_stop(pid_t tid, uint64_t deadline_ns)
{
	int status, error;

	while (!(error = rqs_thread_next_stop(tid, deadline_ns, &status)) &&
	       rqs_tracee_event_of(status) != PTRACE_EVENT_STOP) {
		TRACE(PTRACE_INTERRUPT, tid, 0, 0); /* any other stop takes it away */
		TRACE(PTRACE_CONT, tid, 0, rqs_tracee_signal_of(status));
	}
	return error;
}

/* ---- one thread ---- */

static bool read_registers(struct rqs_stopped *thread)
{
	return !TRACE(PTRACE_GETREGS, thread->tid, 0, &thread->registers);
}

static bool is_ending(pid_t pid, pid_t tid)
{
	char state = rqs_task_state(pid, tid);

	return !state || strchr("ZXx", state);
}

/* It runs on. */
static int seize(struct rqs_stopped *thread, pid_t pid, pid_t tid)
{
	*thread = (struct rqs_stopped){.pid = pid, .tid = tid};
	int error = (int)TRACE(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD);
	/* One that never stopped for us the last time is still ours. */
	if (error == -EPERM && !TRACE(PTRACE_INTERRUPT, tid, 0, 0))
		return 0;
	return error && is_ending(pid, tid) ? -ESRCH : error;
}

static void ask_to_stop(struct rqs_stopped *thread)
{
	thread->since_ns = rqs_tracee_now_ns();
	TRACE(PTRACE_INTERRUPT, thread->tid, 0, 0);
}

static void settle(struct rqs_stopped *thread);

/* It may stop only now, in a call that is to be made again: so it is waited for a moment longer. */
void rqs_thread_forget(struct rqs_stopped *thread)
{
	if (thread->gone)
		return;
	TRACE(PTRACE_INTERRUPT, thread->tid, 0, 0);
	if (!rqs_thread_await_stop(thread->tid, rqs_tracee_now_ns() + GIVING_BACK_NS) && read_registers(thread)) {
		thread->settled = thread->changed = false; /* whatever it was to go on with, it has gone on since */
		settle(thread);
	}
	TRACE(PTRACE_DETACH, thread->tid, 0, 0);
}

static int finish_stop(struct rqs_stopped *thread, uint64_t deadline_ns)
{
	int error = rqs_thread_await_stop(thread->tid, deadline_ns);

	if (!error && !read_registers(thread))
		error = -ESRCH;
	thread->gone = error == -ESRCH;
	return error;
}

int rqs_thread_stop(struct rqs_stopped *thread, pid_t pid, pid_t tid, uint64_t deadline_ns)
{
	expect_children();
	int error = seize(thread, pid, tid);

	if (error)
		return error;
	ask_to_stop(thread);
	error = finish_stop(thread, deadline_ns);
	if (error)
		rqs_thread_forget(thread);
	return error;
}

/* ---- calls that were interrupted ---- */

/* A signal that acts when the thread goes on: then the call has been interrupted by that. */
static bool has_signal(const struct rqs_stopped *thread)
{
	pid_t pid = thread->pid, tid = thread->tid;
	uint64_t pending = rqs_task_number(pid, tid, "SigPnd:", 16, 0) | rqs_task_number(pid, tid, "ShdPnd:", 16, 0);

	return pending & ~rqs_task_number(pid, tid, "SigBlk:", 16, 0);
}

static bool waits_with_limit(const struct user_regs_struct *r)
{
	return (r->orig_rax == SYS_epoll_wait || r->orig_rax == SYS_epoll_pwait) && (int)r->r10 > 0;
}

/* What ends by EINTR although no handler runs. Other interrupted calls the kernel makes again by itself. */
static void hide_interruption(struct rqs_stopped *thread)
{
	struct user_regs_struct *r = &thread->registers;

	if (!rqs_is_interrupted(r) || (thread->knows_eintr && waits_with_limit(r)) || has_signal(thread))
		return;
	rqs_make_again(r);
	thread->changed = true;
}

static void settle(struct rqs_stopped *thread)
{
	if (thread->gone || thread->settled)
		return;
	hide_interruption(thread);
	if (thread->changed)
		TRACE(PTRACE_SETREGS, thread->tid, 0, &thread->registers);
	thread->settled = true;
}

void rqs_thread_release(struct rqs_stopped *thread)
{
	if (thread->gone)
		return;
	settle(thread);
	if (TRACE(PTRACE_DETACH, thread->tid, 0, 0))
		rqs_thread_forget(thread);
}

bool rqs_thread_step(struct rqs_stopped *thread)
{
	int status;

	if (TRACE(PTRACE_SETREGS, thread->tid, 0, &thread->registers) || TRACE(PTRACE_SINGLESTEP, thread->tid, 0, 0) ||
	    rqs_thread_next_stop(thread->tid, rqs_tracee_now_ns() + GIVING_BACK_NS, &status))
		return false;
	bool stepped = !rqs_tracee_event_of(status) && WSTOPSIG(status) == SIGTRAP;
	/* The stop that it is let go from is to be one that was asked for. */
	TRACE(PTRACE_INTERRUPT, thread->tid, 0, 0);
	TRACE(PTRACE_CONT, thread->tid, 0, stepped || rqs_tracee_event_of(status) ? 0 : WSTOPSIG(status));
	return !finish_stop(thread, rqs_tracee_now_ns() + GIVING_BACK_NS) && stepped;
}

/* ---- all threads ---- */

void rqs_threads_list(pid_t pid, bool (*visit)(void *data, pid_t tid), void *data)
{
	char path[64];
	struct dirent *entry;
	bool more = true;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *folder = opendir(path);
	while (folder && more && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			more = visit(data, (pid_t)atoi(entry->d_name));
	if (folder)
		closedir(folder);
}

#define NUMBERS (1u << 22) /* PID_MAX_LIMIT of the kernel */
#define IN_WORD 64u

static bool is_known(const struct rqs_threads *threads, pid_t tid)
{
	return (uint32_t)tid >= NUMBERS || threads->known[(uint32_t)tid / IN_WORD] >> ((uint32_t)tid % IN_WORD) & 1;
}

static void know(const struct rqs_threads *threads, pid_t tid)
{
	threads->known[(uint32_t)tid / IN_WORD] |= 1ull << ((uint32_t)tid % IN_WORD);
}

static struct rqs_stopped *add(struct rqs_threads *threads)
{
	if (threads->count == threads->room) {
		size_t room = threads->room ? 2 * threads->room : 64;
		struct rqs_stopped *all = realloc(threads->all, room * sizeof(*all));

		if (!all)
			return NULL;
		threads->all = all;
		threads->room = room;
	}
	return &threads->all[threads->count++];
}

struct round {
	struct rqs_threads *threads;
	int error;
};

static bool seize_new_one(void *data, pid_t tid)
{
	struct round *round = data;
	struct rqs_threads *threads = round->threads;

	if (is_known(threads, tid))
		return true;
	struct rqs_stopped *thread = add(threads);
	int error = thread ? seize(thread, threads->pid, tid) : -ENOMEM;
	if (!error) {
		know(threads, tid);
		return true;
	}
	if (thread)
		threads->count--;
	if (error != -ESRCH)
		round->error = error;
	return !round->error;
}

/*
 * To be attached to, a thread must not be about to execute a program; which
 * that waits to do for us to take note that those have ended which we trace.
 * So we are interrupted now and then.
 */
#define ALARM_US 20000

struct alarm {
	struct sigaction action;
	struct itimerval timer;
	sigset_t mask;
};

static void on_alarm(int number)
{
	int error = errno;

	(void)number;
	rqs_tracee_reap();
	errno = error;
}

static void set_alarm(struct alarm *before)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval timer = {{.tv_usec = ALARM_US}, {.tv_usec = ALARM_US}};
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigaction(SIGALRM, &action, &before->action);
	sigprocmask(SIG_UNBLOCK, &alarm, &before->mask);
	setitimer(ITIMER_REAL, &timer, &before->timer);
}

static void clear_alarm(const struct alarm *before)
{
	setitimer(ITIMER_REAL, &before->timer, NULL);
	sigprocmask(SIG_SETMASK, &before->mask, NULL);
	sigaction(SIGALRM, &before->action, NULL);
}

/* One that has only to get its turn on a busy machine will stop: to begin anew would take longer. */
static int finish_patiently(struct rqs_stopped *thread, uint64_t deadline_ns)
{
	int error = finish_stop(thread, deadline_ns);

	while (error == -ETIMEDOUT && rqs_tracee_now_ns() < deadline_ns + TURN_NS &&
	       rqs_task_state(thread->pid, thread->tid) == 'R')
		error = finish_stop(thread, rqs_tracee_now_ns() + TURN_STEP_NS);
	return error;
}

/* All at once, so that none waits for the others to be asked. */
static int stop_round(struct rqs_threads *threads, uint64_t deadline_ns, size_t *done)
{
	struct round round = {.threads = threads};
	struct alarm before;

	set_alarm(&before);
	rqs_threads_list(threads->pid, seize_new_one, &round);
	clear_alarm(&before);
	for (size_t i = *done; !round.error && i < threads->count; i++)
		ask_to_stop(&threads->all[i]);
	for (; !round.error && *done < threads->count; ++*done) {
		int error = finish_patiently(&threads->all[*done], deadline_ns);

		if (error && error != -ESRCH)
			return error;
	}
	return round.error;
}

/* Those that have stopped go on first, also where that isn't known yet; the others may take long. */
static void give_up(struct rqs_threads *threads, size_t done)
{
	for (size_t i = 0; i < done; i++)
		rqs_thread_release(&threads->all[i]);
	for (size_t i = done; i < threads->count; i++) {
		if (finish_stop(&threads->all[i], 0))
			continue;
		rqs_thread_release(&threads->all[i]);
		threads->all[i].gone = true;
	}
	if (threads->count && threads->all[0].since_ns)
		threads->stopped_ns += rqs_tracee_now_ns() - threads->all[0].since_ns;
	rqs_tracee_reap();
	for (size_t i = done; i < threads->count; i++)
		rqs_thread_forget(&threads->all[i]);
	threads->count = 0;
	rqs_threads_release(threads);
}

int rqs_threads_stop(struct rqs_threads *threads, pid_t pid, uint64_t deadline_ns)
{
	size_t done = 0, before;
	int error;

	expect_children();
	threads->pid = pid;
	threads->count = 0;
	threads->known = calloc(NUMBERS / IN_WORD, sizeof(*threads->known));
	if (!threads->known)
		return -ENOMEM;
	know(threads, threads->but);
	do {
		before = threads->count;
		error = stop_round(threads, deadline_ns, &done);
	} while (!error && threads->count > before);
	if (!error && !threads->count)
		error = -ESRCH;
	if (error)
		give_up(threads, done);
	return error;
}

void rqs_threads_settle(struct rqs_threads *threads)
{
	for (size_t i = 0; i < threads->count; i++)
		settle(&threads->all[i]);
}

void rqs_threads_release(struct rqs_threads *threads)
{
	uint64_t since = threads->count ? threads->all[0].since_ns : 0;

	for (size_t i = 0; i < threads->count; i++)
		rqs_thread_release(&threads->all[i]);
	if (since)
		threads->stopped_ns += rqs_tracee_now_ns() - since;
	free(threads->all);
	free(threads->known);
	threads->all = NULL;
	threads->known = NULL;
	threads->count = threads->room = 0;
}
