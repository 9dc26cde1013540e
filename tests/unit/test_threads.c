/* test_threads.c - threads of other processes: what is told of one is told once. */
#include "unit.h"

#include "inject/threads.h"

#include <signal.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_stop_is_left_for_who_waits_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
