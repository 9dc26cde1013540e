/* recording_options.c - see recording_options.h. */
#include "cmd/recording_options.h"

#include "collect/session.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

int rqs_take_recording_option(struct rqs_recording_options *options, const struct rqs_command *command, int mistake,
			      int option, char **argv)
{
	uint64_t ns;

	switch (option) {
	case 'o':
		options->out = optarg;
		if (*optarg && strlen(optarg) < PATH_MAX - 32)
			return -1;
		rqs_complain("%s: '%s' can't be a file name", command->name, optarg);
		return mistake;
	case 'f':
		options->force = true;
		return -1;
	case RQS_OPT_DURATION:
		options->duration = optarg;
		if (rqs_parse_duration(optarg, &ns))
			return -1;
		rqs_complain("%s: --duration takes seconds, such as 30 or 0.5, not '%s'", command->name, optarg);
		return mistake;
	case RQS_OPT_LABEL:
		options->label = optarg;
		return -1;
	case RQS_OPT_NO_SCHED:
		options->no_sched = true;
		return -1;
	case RQS_OPT_SITES:
		if (!options->sample_bytes)
			options->sample_bytes = RQS_SAMPLE_BYTES_DEFAULT;
		return -1;
	case RQS_OPT_SAMPLE_BYTES:
		if (rqs_parse_sample_bytes(optarg, &options->sample_bytes))
			return -1;
		rqs_complain("%s: --sample-bytes takes bytes from 4K to 1024M, such as 512K, not '%s'", command->name,
			     optarg);
		return mistake;
	case RQS_OPT_HELP:
		rqs_print_usage(command);
		return RQS_EXIT_OK;
	case ':':
		rqs_complain("%s: %s needs a value", command->name, argv[optind - 1]);
		return mistake;
	default:
		rqs_complain("%s: no option '%s'; `reqscope %s --help` lists them", command->name, argv[optind - 1],
			     command->name);
		return mistake;
	}
}
