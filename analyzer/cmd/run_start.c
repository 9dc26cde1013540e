/* run_start.c - starts CMD, and the collector. */
#include "cmd/command.h"
#include "cmd/run.h"
#include "cmd/siblings.h"
#include "inject/placing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void set_environment(const struct run *run)
{
	const char *old = getenv("LD_PRELOAD");
	char *value = NULL;

	if (run->options.no_sched)
		setenv(RQS_ENV_NO_SCHED, "1", 1);
	if (!run->library[0] || run->kind == PROGRAM_OTHER_MACHINE)
		return;
	if (asprintf(&value, "%s%s%s", run->library, old && *old ? ":" : "", old ? old : "") < 0)
		_exit(RQS_EXIT_RUN_FAILED);
	setenv("LD_PRELOAD", value, 1);
	setenv(RQS_ENV_SESSION, run->token, 1);
}

/* Nothing can be preloaded into a static program. Returns errno. */
static int execute(const struct run *run, int unhooked)
{
	struct rqs_siblings siblings;
	struct rqs_placing placing = {
	    .path = run->path,
	    .file = -1,
	    .token = run->token,
	    .tracer = siblings.program,
	    .program = siblings.placer,
	    .no_sched = run->options.no_sched,
	    .why = unhooked,
	};

	if (run->kind == PROGRAM_STATIC && rqs_siblings_find(&siblings))
		return -rqs_place_exec(&placing, run->command, environ);
	execvp(run->command[0], run->command);
	return errno;
}

/* In the child: until the gate opens, nothing; then CMD. */
static void become_command(struct run *run, int gate, int exec_error, int unhooked)
{
	char open_gate;

	rqs_run_give_signals_back(run);
	if (read(gate, &open_gate, 1) != 1)
		_exit(RQS_EXIT_RUN_FAILED);
	set_environment(run);

	int error = execute(run, unhooked);
	if (write(exec_error, &error, sizeof(error)) < 0) {
		/* Then our exit status has to tell. */
	}
	_exit(RQS_EXIT_RUN_FAILED);
}

bool rqs_run_start_child(struct run *run)
{
	int gate[2], exec_error[2], unhooked[2];

	if (pipe2(gate, O_CLOEXEC) || pipe2(exec_error, O_CLOEXEC) || pipe2(unhooked, O_CLOEXEC)) {
		rqs_complain("run: pipe: %s", strerror(errno));
		return false;
	}
	run->child = fork();
	if (run->child < 0) {
		rqs_complain("run: fork: %s", strerror(errno));
		return false;
	}
	if (!run->child) {
		close(gate[1]);
		become_command(run, gate[0], exec_error[1], unhooked[1]);
	}
	close(gate[0]);
	close(exec_error[1]);
	close(unhooked[1]);
	run->gate = gate[1];
	run->exec_error = exec_error[0];
	run->unhooked = unhooked[0];
	return true;
}

bool rqs_run_start_collector(struct run *run)
{
	const struct rqs_collector_order order = {
	    .who = "run",
	    .token = run->token,
	    .mode = "run",
	    .pid = run->child,
	    .out = run->options.out,
	    .force = run->options.force,
	    .label = run->options.label,
	    .duration = run->options.duration,
	    .sample_bytes = run->options.sample_bytes,
	    .stop = -1,
	    .command = run->command,
	};

	return rqs_collector_start(&run->collector, &order);
}

bool rqs_run_open_gate(struct run *run)
{
	int error = 0;

	if (write(run->gate, "", 1) != 1) {
		/* The child was killed meanwhile, which its status will tell. */
	}
	close(run->gate);
	bool failed = read(run->exec_error, &error, sizeof(error)) == (ssize_t)sizeof(error);
	close(run->exec_error);
	if (failed)
		rqs_complain("run: %s: %s", run->command[0], strerror(error));
	return !failed;
}
