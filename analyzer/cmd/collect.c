/* collect.c - the hidden command `collect`: the collector as `run` and the library start it. */
#include "cmd/command.h"
#include "collect/greet.h"
#include "collect/session.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "usage: reqscope collect --token T --pid PID [OPTIONS] [-- CMD...]\n"
			    "\n"
			    "Receives what the agents of one session record, and writes the trace. It is\n"
			    "started by `reqscope run` and by libreqscope.so; there is no need to call it.\n"
			    "\n"
			    "  --token T        the session: 32 hexadecimal digits\n"
			    "  --pid PID        the process whose end may end the session\n"
			    "  --mode M         run (default), preload or attach\n"
			    "  --out FILE       the trace (default reqscope.PID.rqs)\n"
			    "  --force          replace FILE\n"
			    "  --label L        stored in the trace\n"
			    "  --duration S     stop recording after S seconds\n"
			    "  --sample-bytes B take a sample of the allocations about every B bytes\n"
			    "  --detach         leave the caller's process group and session\n"
			    "  --ready-fd N     gets a zero byte when ready, or a text that says what is wrong\n"
			    "  --report-fd N    gets the result at the end\n"
			    "  --stop-fd N      attach: once it is closed at its other end, the session ends\n";

enum option_id {
	OPT_TOKEN = 1,
	OPT_PID,
	OPT_MODE,
	OPT_OUT,
	OPT_FORCE,
	OPT_LABEL,
	OPT_DURATION,
	OPT_SAMPLE_BYTES,
	OPT_DETACH,
	OPT_READY_FD,
	OPT_REPORT_FD,
	OPT_STOP_FD,
	OPT_HELP,
};

static const struct option long_options[] = {
    {"token", required_argument, NULL, OPT_TOKEN},
    {"pid", required_argument, NULL, OPT_PID},
    {"mode", required_argument, NULL, OPT_MODE},
    {"out", required_argument, NULL, OPT_OUT},
    {"force", no_argument, NULL, OPT_FORCE},
    {"label", required_argument, NULL, OPT_LABEL},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"sample-bytes", required_argument, NULL, OPT_SAMPLE_BYTES},
    {"detach", no_argument, NULL, OPT_DETACH},
    {"ready-fd", required_argument, NULL, OPT_READY_FD},
    {"report-fd", required_argument, NULL, OPT_REPORT_FD},
    {"stop-fd", required_argument, NULL, OPT_STOP_FD},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static bool parse_int(const char *text, int least, int *value)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (end == text || *end || number < least || number > INT_MAX)
		return false;
	*value = (int)number;
	return true;
}

/* False when the value of the option makes no sense. */
static bool take_option(struct rqs_session_options *options, int option, char *value)
{
	switch (option) {
	case OPT_TOKEN:
		options->token = value;
		return rqs_token_is_valid(value);
	case OPT_PID:
		return parse_int(value, 1, &options->pid);
	case OPT_MODE:
		return rqs_parse_mode(value, &options->mode);
	case OPT_OUT:
		options->out = value;
		return *value && strlen(value) < PATH_MAX - 32;
	case OPT_FORCE:
		return options->force = true;
	case OPT_LABEL:
		options->label = value;
		return true;
	case OPT_DURATION:
		return rqs_parse_duration(value, &options->duration_ns);
	case OPT_SAMPLE_BYTES:
		return rqs_parse_sample_bytes(value, &options->sample_bytes);
	case OPT_DETACH:
		return options->detach = true;
	case OPT_READY_FD:
		return parse_int(value, 0, &options->ready_fd);
	case OPT_REPORT_FD:
		return parse_int(value, 0, &options->report_fd);
	case OPT_STOP_FD:
		return parse_int(value, 0, &options->stop_fd);
	default:
		return false;
	}
}

static int collect(int argc, char **argv)
{
	struct rqs_session_options options = {.ready_fd = -1, .report_fd = -1, .stop_fd = -1};
	int option;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
		if (option == OPT_HELP) {
			rqs_print_usage(&rqs_command_collect);
			return RQS_EXIT_OK;
		}
		if (!take_option(&options, option, optarg)) {
			rqs_complain("collect: bad argument '%s'", argv[optind - 1]);
			return RQS_EXIT_USAGE;
		}
	}
	if (!options.token || !options.pid) {
		rqs_complain("collect: --token and --pid are needed; it is started by `reqscope run`");
		return RQS_EXIT_USAGE;
	}
	if (optind < argc) {
		options.command = argv + optind;
		options.command_count = argc - optind;
	}
	return rqs_session_run(&options);
}

const struct rqs_command rqs_command_collect = {
    .name = "collect",
    .summary = NULL,
    .usage = usage,
    .run = collect,
};
