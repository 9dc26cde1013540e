/* report.c - `reqscope report`: what happened, by route. */
#include "cmd/options.h"
#include "render/output.h"
#include "report/call_sites.h"
#include "report/report_doc.h"
#include "report/report_json.h"

#include <stdlib.h>

static const char usage[] =
    "usage: reqscope report [OPTIONS] FILE...\n"
    "\n"
    "What the requests of each trace took in time and memory, by route.\n"
    "\n"
    "  --format FORMAT   text (default), json, md or html\n"
    "  -o, --output OUT  write to the file OUT, which must not exist\n"
    "  -f, --force       replace an existing OUT\n"
    "  --skip S          leave out requests that arrived in the first S seconds (a warm-up)\n"
    "  --from T, --to T  only requests that arrived in this part: seconds since the first\n"
    "                    arrival, or an RFC 3339 time such as 2025-01-31T12:00:00Z\n"
    "  --sites           where each route's memory comes from: the lines that allocate, how much of\n"
    "                    it is still live at the end, and leaks (recorded by run --sites)\n"
    "  --sites-top N     so many of a route (10), for --sites\n"
    "\n"
    "examples:\n"
    "  reqscope report app.rqs\n"
    "  reqscope report --sites app.rqs\n"
    "  reqscope report --skip 5 --format html -o app.html app.rqs\n"
    "  reqscope report --format json app.rqs | jq '.traces[0].latency.p99'\n"
    "\n"
    "exit status: 0 good; 2 a mistake in the command, or a file that is unreadable or damaged\n"
    "(what can be read of it is shown all the same).\n";

enum {
	OPTION_SITES = RQS_OWN_OPTION,
	OPTION_SITES_TOP,
};

static const struct option own_options[] = {
    {"sites", no_argument, NULL, OPTION_SITES},
    {"sites-top", required_argument, NULL, OPTION_SITES_TOP},
    {0},
};

/* *context: how many sites of a route, 0 none. */
static int take_option(void *context, int option, const char *argument)
{
	unsigned *sites = context;
	char *end;

	if (option == OPTION_SITES) {
		*sites = *sites ? *sites : RQS_SITES_TOP;
		return RQS_EXIT_OK;
	}
	unsigned long n = strtoul(argument, &end, 10);
	if (end == argument || *end || *argument == '-' || n < 1 || n > RQS_SITES_MOST)
		return rqs_usage_error(&rqs_command_report, "--sites-top takes a number from 1 to %u, not '%s'",
				       RQS_SITES_MOST, argument);
	*sites = (unsigned)n;
	return RQS_EXIT_OK;
}

static int run_report(int argc, char **argv)
{
	unsigned sites = 0;
	const struct rqs_own_options own = {own_options, take_option, &sites};
	struct rqs_view_options options;
	struct rqs_traces traces;

	if (!rqs_view_options_parse(&options, &rqs_command_report, &own, argc, argv))
		return options.status;
	options.load.sites = sites;
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
		status = rqs_show(options.format->document ? rqs_report_doc(&traces, sites) : NULL,
				  options.format->data ? rqs_report_json(&traces, sites) : NULL, &options, status);
	rqs_traces_free(&traces);
	return status;
}

const struct rqs_command rqs_command_report = {
    .name = "report",
    .summary = "latency and memory by route",
    .usage = usage,
    .run = run_report,
};
