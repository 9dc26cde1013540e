/* trace_exec.c - the hidden command `trace-exec`: places our code in a program at its exec (inject/tracer.h). */
#include "cmd/command.h"
#include "inject/tracer.h"

#include <stdlib.h>
#include <string.h>

static const char usage[] = "usage: reqscope trace-exec FD\n"
			    "\n"
			    "Started by `reqscope run` and `reqscope place`, which talk to it by the socket\n"
			    "FD; there is no need to call it.\n";

static int trace_exec(int argc, char **argv)
{
	char *end;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		rqs_print_usage(&rqs_command_trace_exec);
		return RQS_EXIT_OK;
	}
	long channel = argc == 2 ? strtol(argv[1], &end, 10) : -1;
	if (channel < 0 || channel > INT_MAX || end == argv[1] || *end) {
		rqs_complain("trace-exec: it is started by `reqscope run`");
		return RQS_EXIT_USAGE;
	}
	rqs_tracer_live((int)channel);
	return RQS_EXIT_OK;
}

const struct rqs_command rqs_command_trace_exec = {RQS_TRACER_COMMAND, NULL, usage, trace_exec};
