/* report.c - `reqscope report`: what happened, by route. */
#include "cmd/options.h"
#include "render/output.h"
#include "report/report_doc.h"
#include "report/report_json.h"

#include <stdlib.h>

static const char usage[] = "usage: reqscope report [OPTIONS] FILE...\n"
			    "\n"
			    "What the requests of each trace took in time and memory, by route.\n"
			    "\n"
			    "  --format FORMAT   text (default), json, md or html\n"
			    "  -o, --output OUT  write to the file OUT, which must not exist\n"
			    "  -f, --force       replace an existing OUT\n"
			    "  --skip S          leave out requests that arrived in the first S seconds (a warm-up)\n"
			    "  --from T, --to T  only requests that arrived in this part: seconds since the first\n"
			    "                    arrival, or an RFC 3339 time such as 2025-01-31T12:00:00Z\n"
			    "\n"
			    "examples:\n"
			    "  reqscope report app.rqs\n"
			    "  reqscope report --skip 5 --format html -o app.html app.rqs\n"
			    "  reqscope report --format json app.rqs | jq '.traces[0].latency.p99'\n"
			    "\n"
			    "exit status: 0 good; 2 a mistake in the command, or a file that is unreadable or damaged\n"
			    "(what can be read of it is shown all the same).\n";

static int run_report(int argc, char **argv)
{
	struct rqs_view_options options;
	struct rqs_traces traces;

	if (!rqs_view_options_parse(&options, &rqs_command_report, NULL, argc, argv))
		return options.status;
	if (options.first == argc)
		return rqs_usage_error(&rqs_command_report, "which trace? Give at least one FILE");
	char *problem = rqs_output_check(options.output, options.force);
	if (problem) {
		rqs_complain("%s", problem);
		free(problem);
		return RQS_EXIT_USAGE;
	}
	int status = rqs_load_and_tell(&traces, argv + options.first, (unsigned)(argc - options.first), &options);
	if (rqs_anything_readable(&traces))
		status = rqs_show(options.format->document ? rqs_report_doc(&traces) : NULL,
				  options.format->data ? rqs_report_json(&traces) : NULL, &options, status);
	rqs_traces_free(&traces);
	return status;
}

const struct rqs_command rqs_command_report = {
    .name = "report",
    .summary = "latency and memory by route",
    .usage = usage,
    .run = run_report,
};
