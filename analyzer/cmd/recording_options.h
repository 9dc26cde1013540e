/* recording_options.h - the options that `run` and `attach` have in common. */
#ifndef CMD_RECORDING_OPTIONS_H
#define CMD_RECORDING_OPTIONS_H

#include "cmd/command.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

/* Words of the command line. */
struct rqs_recording_options {
	const char *out, *label, *duration; /* NULL: not given */
	bool force, no_sched;
	uint64_t sample_bytes; /* mean distance of sampled allocations; 0: none are */
};

enum rqs_recording_option {
	RQS_OPT_DURATION = 256,
	RQS_OPT_LABEL,
	RQS_OPT_NO_SCHED,
	RQS_OPT_SITES,
	RQS_OPT_SAMPLE_BYTES,
	RQS_OPT_HELP,
	RQS_OPT_OWN, /* the first of a command's own */
};

#define RQS_SHORT_RECORDING_OPTIONS ":o:f"
/* Rows for getopt_long(). */
#define RQS_RECORDING_OPTIONS                                                                                          \
	{"output", required_argument, NULL, 'o'}, {"force", no_argument, NULL, 'f'},                                   \
	    {"duration", required_argument, NULL, RQS_OPT_DURATION},                                                   \
	    {"label", required_argument, NULL, RQS_OPT_LABEL}, {"no-sched", no_argument, NULL, RQS_OPT_NO_SCHED},      \
	    {"sites", no_argument, NULL, RQS_OPT_SITES},                                                               \
	    {"sample-bytes", required_argument, NULL, RQS_OPT_SAMPLE_BYTES},                                           \
	{                                                                                                              \
		"help", no_argument, NULL, RQS_OPT_HELP                                                                \
	}

/* What getopt_long() has returned: -1 go on; else the exit status, which for mistakes is `mistake`. */
int rqs_take_recording_option(struct rqs_recording_options *options, const struct rqs_command *command, int mistake,
			      int option, char **argv);

#endif
