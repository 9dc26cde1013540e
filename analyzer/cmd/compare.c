/* compare.c - `reqscope compare`: two or more sides and their differences. */
#include "cmd/options.h"
#include "render/escape.h"
#include "render/output.h"
#include "report/compare_doc.h"
#include "report/compare_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: reqscope compare [OPTIONS] BASE NEW...\n"
    "\n"
    "Each side's latency, throughput, CPU and memory, and how the others differ from BASE.\n"
    "A side is a trace, several runs (a1.rqs,a2.rqs) or a quoted pattern ('a-*.rqs');\n"
    "NAME= in front names it.\n"
    "\n"
    "  --format FORMAT   text (default), json, md, html; of the gates alone: junit or github\n"
    "  -o, --output OUT  write to the file OUT, which must not exist\n"
    "  -f, --force       replace an existing OUT\n"
    "  --skip S          leave out requests that arrived in the first S seconds (a warm-up)\n"
    "  --from T, --to T  only requests that arrived in this part: seconds since each trace's\n"
    "                    first arrival, or an RFC 3339 time\n"
    "\n"
    "  --sites           by route, which call sites allocate more or less; of traces recorded with\n"
    "                    --sites. With --format html as flame graphs, too\n"
    "\n"
    "  --gate EXPR       fail when a side doesn't keep to this; can be given several times:\n"
    "                      p99<=+5%  throughput>=-3%  errors<=+0.1pp  rss_peak<=100MB\n"
    "                      'GET /users/{}:p50<=+2ms'\n"
    "  --threshold P     a change for the worse by P or less is no regression, as where a gate says so (0%)\n"
    "  --strict          a regression must be beyond its bound with all of its interval\n"
    "  --inconclusive=pass|fail\n"
    "                    whether gates pass that can't be decided (fail)\n"
    "  --allow-single-run\n"
    "                    decide gates by one run a side, too: how it varies within that run\n"
    "  --allow-unmatched-load\n"
    "                    decide gates of latencies though the loads differed\n"
    "\n"
    "Differences are given with the interval that holds them in 95 % of cases. With several\n"
    "runs a side (five or more, alternated) they are tested between the runs, with one within it.\n"
    "\n"
    "examples:\n"
    "  reqscope compare old.rqs new.rqs\n"
    "  reqscope compare Gin=gin.rqs Fiber=fiber.rqs Express=express.rqs\n"
    "  reqscope compare --skip 5 before='before-*.rqs' after='after-*.rqs'\n"
    "  reqscope compare --format html -o compare.html old.rqs new.rqs\n"
    "  reqscope compare --sites --format html -o sites.html 'old-*.rqs' 'new-*.rqs'\n"
    "  reqscope compare --gate 'p99<=+5%' --gate 'alloc_bytes<=+2%' 'old-*.rqs' 'new-*.rqs'\n"
    "\n"
    "exit status: 0 good; 1 a gate failed; 2 a mistake in the command, or a file that is\n"
    "unreadable or damaged; 3 a gate is inconclusive or unresolved; 4 a gate's sides are not\n"
    "comparable. Of several the first in this order: 2, 1, 4, 3.\n";

enum own_option {
	OPTION_GATE = RQS_OWN_OPTION,
	OPTION_THRESHOLD,
	OPTION_STRICT,
	OPTION_INCONCLUSIVE,
	OPTION_SINGLE_RUN,
	OPTION_UNMATCHED_LOAD,
	OPTION_SITES,
};

static const struct option own_options[] = {
    {"gate", required_argument, NULL, OPTION_GATE},
    {"threshold", required_argument, NULL, OPTION_THRESHOLD},
    {"strict", no_argument, NULL, OPTION_STRICT},
    {"inconclusive", required_argument, NULL, OPTION_INCONCLUSIVE},
    {"allow-single-run", no_argument, NULL, OPTION_SINGLE_RUN},
    {"allow-unmatched-load", no_argument, NULL, OPTION_UNMATCHED_LOAD},
    {"sites", no_argument, NULL, OPTION_SITES},
    {0},
};

static int take_gate(struct rqs_findings *f, const char *text)
{
	size_t at;
	char *problem = rqs_gates_add(&f->gates, text, &at);

	if (!problem)
		return RQS_EXIT_OK;
	char *clean = rqs_clean(text);
	int status = rqs_usage_error(&rqs_command_compare, "gate '%s': %s", clean, problem);
	fprintf(stderr, "  %s\n  %*s^\n", clean, (int)at, "");
	free(clean);
	free(problem);
	return status;
}

/* "5%" or "5". */
static int take_threshold(struct rqs_findings *f, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || strcmp(end, *end == '%' ? "%" : "") || !(value >= 0 && value < 1000))
		return rqs_usage_error(&rqs_command_compare, "--threshold takes a percentage such as 5%%, not '%s'",
				       text);
	f->options.threshold = value / 100;
	return RQS_EXIT_OK;
}

static int take_option(void *context, int option, const char *argument)
{
	struct rqs_findings *f = context;

	switch (option) {
	case OPTION_GATE:
		return take_gate(f, argument);
	case OPTION_THRESHOLD:
		return take_threshold(f, argument);
	case OPTION_STRICT:
		f->options.strict = true;
		return RQS_EXIT_OK;
	case OPTION_SINGLE_RUN:
		f->options.allow_single_run = true;
		return RQS_EXIT_OK;
	case OPTION_SITES:
		f->options.sites = true;
		return RQS_EXIT_OK;
	case OPTION_UNMATCHED_LOAD:
		f->options.allow_unmatched_load = true;
		return RQS_EXIT_OK;
	default:
		if (strcmp(argument, "pass") && strcmp(argument, "fail"))
			return rqs_usage_error(&rqs_command_compare, "--inconclusive takes pass or fail, not '%s'",
					       argument);
		f->options.inconclusive_passes = !strcmp(argument, "pass");
		return RQS_EXIT_OK;
	}
}

static bool all_readable(const struct rqs_traces *traces)
{
	for (unsigned i = 0; i < traces->count; i++)
		if (traces->trace[i].fatal)
			return false;
	return true;
}

static int compare(struct rqs_comparison *c, struct rqs_findings *f, struct rqs_view_options *options)
{
	options->load.sites = f->options.sites;
	options->load.loaded = rqs_sides_take;
	options->load.loaded_context = c;
	int status = rqs_load_and_tell(&c->traces, c->file, c->files, options);

	if (!all_readable(&c->traces))
		return status;
	rqs_sides_unite(c);
	char *problem = rqs_gates_check(&f->gates, c);
	if (problem) {
		rqs_complain("%s", problem);
		free(problem);
		return RQS_EXIT_USAGE;
	}
	rqs_findings_make(f, c);
	return rqs_show(options->format->document ? rqs_compare_doc(f) : NULL,
			options->format->data ? rqs_compare_json(f) : NULL, options, rqs_findings_status(f));
}

static int run_compare(int argc, char **argv)
{
	struct rqs_findings findings = {0};
	const struct rqs_own_options own = {own_options, take_option, &findings};
	struct rqs_view_options options;
	struct rqs_comparison c = {0};
	int status;

	if (!rqs_view_options_parse(&options, &rqs_command_compare, &own, argc, argv)) {
		rqs_findings_free(&findings);
		return options.status;
	}
	char *problem = rqs_output_check(options.output, options.force);
	if (argc - options.first < 2)
		status = rqs_usage_error(&rqs_command_compare, "give at least two sides: BASE NEW...");
	else if (problem || (problem = rqs_sides_parse(&c, argv + options.first, (unsigned)(argc - options.first)))) {
		rqs_complain("%s", problem);
		status = RQS_EXIT_USAGE;
	} else {
		status = compare(&c, &findings, &options);
	}
	free(problem);
	rqs_comparison_free(&c);
	rqs_findings_free(&findings);
	return status;
}

const struct rqs_command rqs_command_compare = {
    .name = "compare",
    .summary = "two or more traces side by side",
    .usage = usage,
    .run = run_compare,
};
