/* test_threads.c - threads of other processes: what is told of one is told once. */
#include "unit.h"

#include "inject/threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t begin_to_wait(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static char state_of(pid_t pid)
{
	char path[64], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (file && fscanf(file, "%*d %*s %c", &state) != 1)
		state = 0;
	if (file)
		fclose(file);
	return state;
}

static void await_state(pid_t pid, char state)
{
	for (int i = 0; i < 10000 && state_of(pid) != state; i++)
		usleep(1000);
	assert_int_equal(state_of(pid), state);
}

static void end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_true(WIFSIGNALED(status));
}

static void a_stop_is_left_for_who_waits_for_it(void **state)
{
	pid_t stopped = begin_to_wait(), ended = begin_to_wait();
	int status;

	(void)state;
	await_state(stopped, 'S');
	assert_int_equal(ptrace(PTRACE_SEIZE, stopped, NULL, NULL), 0);
	kill(ended, SIGKILL);
	await_state(ended, 'Z');
	rqs_tracee_reap();
	assert_int_equal(waitpid(ended, &status, WNOHANG), -1);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, stopped, NULL, NULL), 0);
	await_state(stopped, 't');
	rqs_tracee_reap();
	assert_int_equal(waitpid(stopped, &status, __WALL | WNOHANG), stopped);
	end(stopped);
}

/* ---- signals ---- */

#define SIGNALLED 3
#define SIGNALS 1000ul

struct signals {
	atomic_bool over;
	atomic_ulong sent, got;
	atomic_bool finished;
};
static struct signals *signals;

static void count_signal(int number)
{
	(void)number;
	signals->got++;
}

static void *spin(void *argument)
{
	while (!signals->finished)
		;
	return argument;
}

/* Its threads get signals all the time; those of real time are queued, each of them. */
static void get_signals(void)
{
	struct sigaction action = {.sa_handler = count_signal};
	pthread_t threads[SIGNALLED];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGRTMIN, &action, NULL);
	for (int i = 0; i < SIGNALLED; i++)
		pthread_create(&threads[i], NULL, spin, NULL);
	for (unsigned long i = 0; !signals->over; i++) {
		if (!pthread_sigqueue(threads[i % SIGNALLED], SIGRTMIN, (union sigval){0}))
			signals->sent++;
		usleep(50);
	}
	for (int i = 0; i < 2000 && signals->got < signals->sent; i++)
		usleep(1000);
	signals->finished = true;
	for (int i = 0; i < SIGNALLED; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

/* However late a stop comes, or not at all. */
static void no_signal_is_lost(void **state)
{
	struct rqs_threads threads = {0};
	int status, stopped = 0;

	(void)state;
	signals = mmap(NULL, sizeof(*signals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	if (!pid)
		get_signals();
	while (!signals->got)
		usleep(1000);
	for (int i = 0; signals->sent < SIGNALS; i++) {
		/* Up to 0.2 ms; sometimes enough. */
		uint64_t patience_ns = i % 20 ? (uint64_t)(i % 20) * 10000 : 2000000000;

		if (rqs_threads_stop(&threads, pid, rqs_tracee_now_ns() + patience_ns))
			continue;
		rqs_tracee_reap();
		rqs_threads_release(&threads);
		stopped++;
	}
	signals->over = true;
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_int_equal(status, 0);
	assert_true(stopped > 0);
	assert_int_equal(signals->got, signals->sent);
}

/* ---- a thread that doesn't stop ---- */

#define WAITING_US 1500000
#define LATE_NS 20000000ull

struct gaps {
	atomic_bool begun, over;
	_Atomic uint64_t longest_ns;
};
static struct gaps *gaps;

static void *note_gaps(void *argument)
{
	uint64_t now, last = rqs_tracee_now_ns();

	while (!gaps->over) {
		now = rqs_tracee_now_ns();
		if (now - last > gaps->longest_ns)
			gaps->longest_ns = now - last;
		last = now;
	}
	return argument;
}

/* By the first one, which waits for what it began by vfork; the other one works. */
static void wait_beside_work(void)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_create(&thread, NULL, note_gaps, NULL);
	if (vfork() == 0) {
		gaps->begun = true;
		usleep(WAITING_US);
		_exit(0);
	}
	gaps->over = true;
	pthread_join(thread, NULL);
	_exit(0);
}

/* And it is asked again, though it is still traced from the last time; then it does. */
static void who_does_not_stop_keeps_nobody(void **state)
{
	struct rqs_threads threads = {0};
	uint64_t begin, end;
	int status;

	(void)state;
	gaps = mmap(NULL, sizeof(*gaps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	if (!pid)
		wait_beside_work();
	while (!gaps->begun)
		usleep(1000);
	begin = rqs_tracee_now_ns();
	assert_int_equal(rqs_threads_stop(&threads, pid, begin + LATE_NS), -ETIMEDOUT);
	end = rqs_tracee_now_ns();
	usleep(50000); /* until it has noted the last one */
	assert_true(gaps->longest_ns < (end - begin) / 2);
	assert_int_equal(rqs_threads_stop(&threads, pid, end + 4 * WAITING_US * 1000ull), 0);
	rqs_threads_release(&threads);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_stop_is_left_for_who_waits_for_it),
	    cmocka_unit_test(no_signal_is_lost),
	    cmocka_unit_test(who_does_not_stop_keeps_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
