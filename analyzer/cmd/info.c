/* info.c - `reqscope info`: what a trace file consists of, and whether it is whole. */
#include "cmd/options.h"
#include "render/output.h"
#include "report/inspect.h"

#include <inttypes.h>
#include <stdlib.h>

static const char usage[] = "usage: reqscope info [OPTIONS] FILE...\n"
			    "\n"
			    "The metadata of a trace, its frames, completeness and integrity.\n"
			    "\n"
			    "  --format FORMAT   text (default), json, md or html\n"
			    "  -o, --output OUT  write to the file OUT, which must not exist (one FILE only)\n"
			    "  -f, --force       replace an existing OUT\n"
			    "\n"
			    "examples:\n"
			    "  reqscope info app.rqs\n"
			    "  reqscope info --format json app.rqs | jq .bytes_per_request\n"
			    "\n"
			    "exit status: 0 whole, or only cut off between two frames; 2 unreadable or damaged.\n";

static int tell(const struct rqs_inspection *i)
{
	if (i->fatal) {
		rqs_complain_of_file(i->file, "%s", i->fatal);
		return RQS_EXIT_USAGE;
	}
	if (i->scan.version) {
		rqs_complain_of_file(i->file, "offset %" PRIu64 ": format version %u; use a newer reqscope",
				     i->scan.version_offset, i->scan.version);
		return RQS_EXIT_USAGE;
	}
	if (i->scan.damages) {
		rqs_complain_of_file(i->file, "offset %" PRIu64 ": %s", i->scan.first_damage.offset,
				     i->scan.first_damage.what);
		return RQS_EXIT_USAGE;
	}
	if (!i->scan.end)
		rqs_complain_of_file(i->file, "warning: no end frame; the recording was cut off or is still going on");
	return RQS_EXIT_OK;
}

static int show_one(const char *file, const struct rqs_view_options *options)
{
	struct rqs_inspection inspection;

	rqs_inspect(&inspection, file);
	int status = tell(&inspection);
	if (!inspection.fatal)
		status = rqs_show(options->format->document ? rqs_inspection_doc(&inspection) : NULL,
				  options->format->data ? rqs_inspection_json(&inspection) : NULL, options, status);
	rqs_inspection_free(&inspection);
	return status;
}

static int run_info(int argc, char **argv)
{
	struct rqs_view_options options;
	int status = RQS_EXIT_OK;

	if (!rqs_view_options_parse(&options, &rqs_command_info, NULL, argc, argv))
		return options.status;
	if (options.first == argc)
		return rqs_usage_error(&rqs_command_info, "which trace? Give a FILE");
	if (options.output && argc - options.first > 1)
		return rqs_usage_error(&rqs_command_info, "-o takes one FILE");
	char *problem = rqs_output_check(options.output, options.force);
	if (problem) {
		rqs_complain("%s", problem);
		free(problem);
		return RQS_EXIT_USAGE;
	}
	for (int i = options.first; i < argc; i++) {
		int one = show_one(argv[i], &options);

		status = one > status ? one : status;
	}
	return status;
}

const struct rqs_command rqs_command_info = {
    .name = "info",
    .summary = "metadata, frames and integrity of a trace",
    .usage = usage,
    .run = run_info,
};
