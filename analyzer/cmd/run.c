/* run.c - the command `run`: starts a program with the agent in it, and a collector beside it. */
#include "cmd/run.h"
#include "cmd/command.h"
#include "cmd/siblings.h"
#include "os/executable.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] = "usage: reqscope run [-o FILE] [-f] [--duration S] [--label L] [--no-sched]\n"
			    "                    [--sites] [--sample-bytes B] -- CMD [ARGUMENT...]\n"
			    "\n"
			    "Runs CMD and records the requests that it and its child processes serve.\n"
			    "\n"
			    "  -o, --output FILE  the trace (default reqscope.PID.rqs, PID that of CMD)\n"
			    "  -f, --force        replace FILE when it exists\n"
			    "  --duration S       stop recording after S seconds; CMD goes on\n"
			    "  --label L          a name for this run, shown by report and compare\n"
			    "  --no-sched         of Go: no CPU and waiting times of goroutines, which cost most\n"
			    "  --sites            which lines allocate, by route: a sample of the allocations\n"
			    "  --sample-bytes B   one about every B bytes (default 512K, 4K to 1024M); the same\n"
			    "                     as --sites otherwise\n"
			    "  --help             this text\n"
			    "\n"
			    "Ends with CMD, or, when CMD has left servers in the background, with the last\n"
			    "of these, and returns CMD's exit status: 128 + N when signal N ended it, 125\n"
			    "when reqscope itself failed.\n"
			    "\n"
			    "examples:\n"
			    "  reqscope run -o app.rqs -- gunicorn -w 4 app:app\n"
			    "  reqscope run --label old --duration 30 -- node server.js\n";

/* Command line */

static const struct option long_options[] = {RQS_RECORDING_OPTIONS, {NULL, 0, NULL, 0}};

static int parse(struct run *run, int argc, char **argv)
{
	int option, status;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "+" RQS_SHORT_RECORDING_OPTIONS, long_options, NULL)) != -1) {
		status = rqs_take_recording_option(&run->options, &rqs_command_run, RQS_EXIT_RUN_FAILED, option, argv);
		if (status >= 0)
			return status;
	}
	if (optind == argc) {
		rqs_complain("run: no command to run; `reqscope run --help` tells more");
		return RQS_EXIT_RUN_FAILED;
	}
	run->command = argv + optind;
	return -1;
}

/* Preparing */

/*
 * The one that fits CMD. Musl's is optional: a program that would need it is
 * run unrecorded.
 */
static bool find_library(struct run *run)
{
	const char *name = run->kind == PROGRAM_MUSL ? RQS_MUSL_LIBRARY : RQS_LIBRARY;

	if (!rqs_siblings_library(name, run->library)) {
		if (run->kind == PROGRAM_MUSL)
			return true;
		rqs_complain("run: %s is neither beside this program nor in ../lib/reqscope, or /proc isn't mounted",
			     name);
		return false;
	}
	if (strpbrk(run->library, " :")) {
		rqs_complain("run: %s: the loader can't preload from a path with a space or colon", run->library);
		return false;
	}
	return true;
}

static bool prepare(struct run *run)
{
	int error = rqs_program_find(run->command[0], run->path, sizeof(run->path));

	if (error) {
		rqs_complain("run: %s: %s", run->command[0], error == -ENOENT ? "no such program" : strerror(-error));
		return false;
	}
	run->kind = rqs_program_kind(run->path);
	/* Go's own linker may name a loader, which then has nothing to load. */
	if (run->kind == PROGRAM_DYNAMIC && rqs_executable_is_static_go(run->path))
		run->kind = PROGRAM_STATIC;
	return find_library(run) && rqs_collector_make_token("run", run->token);
}

/* All of it */

/* CMD wasn't executed: its trace says nothing, and goes. */
static int undo(struct run *run)
{
	struct stat stat_;

	waitpid(run->child, NULL, 0);
	while (rqs_collector_take_result(&run->collector))
		;
	rqs_collector_end(&run->collector);
	if (!stat(run->options.out, &stat_) && S_ISREG(stat_.st_mode))
		unlink(run->options.out);
	return RQS_EXIT_RUN_FAILED;
}

static int record(struct run *run)
{
	if (!rqs_run_take_signals(run) || !rqs_run_start_child(run))
		return RQS_EXIT_RUN_FAILED;
	if (!run->options.out) {
		snprintf(run->default_out, sizeof(run->default_out), "reqscope.%d.rqs", (int)run->child);
		run->options.out = run->default_out;
	}
	if (!rqs_run_start_collector(run)) {
		close(run->gate);
		waitpid(run->child, NULL, 0);
		return RQS_EXIT_RUN_FAILED;
	}
	if (!rqs_run_open_gate(run))
		return undo(run);
	rqs_run_wait(run);
	return run->status;
}

static int run_command(int argc, char **argv)
{
	struct run *run = calloc(1, sizeof(*run));
	int status;

	if (!run)
		return RQS_EXIT_RUN_FAILED;
	status = parse(run, argc, argv);
	if (status < 0)
		status = prepare(run) ? record(run) : RQS_EXIT_RUN_FAILED;
	free(run);
	return status;
}

const struct rqs_command rqs_command_run = {
    .name = "run",
    .summary = "run a program and record its requests",
    .usage = usage,
    .run = run_command,
};
