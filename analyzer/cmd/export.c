/* export.c - `reqscope export`: a trace's requests for other programs. */
#include "cmd/options.h"
#include "export/exporter.h"
#include "render/output.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: reqscope export --format FORMAT [OPTIONS] FILE...\n"
    "\n"
    "The requests of one or more traces, or where they allocate, for other programs.\n"
    "\n"
    "  --format FORMAT   parquet      a row a request; times in ns (Apache Parquet, zstd)\n"
    "                    csv          the same rows as text (RFC 4180)\n"
    "                    hgrm         latencies of all FILEs together, as HdrHistogram prints them, in ms\n"
    "                    openmetrics  by route and status, with OpenTelemetry's names\n"
    "                    otlp         the same as exponential histograms, OTLP/JSON lines\n"
    "                    pprof        stacks of sampled allocations, labelled by route (go tool pprof)\n"
    "                    collapsed    their bytes as folded stacks that begin with the route (flamegraph.pl)\n"
    "                    speedscope   the same, a profile a route (speedscope.app)\n"
    "  -o, --output OUT  write to the file OUT, which must not exist; only its owner can read it\n"
    "  -f, --force       replace an existing OUT\n"
    "  --route ROUTE     no other requests' than this one's: 'GET /users/{}', as the report names it\n"
    "  --skip S          leave out requests that arrived in the first S seconds (a warm-up)\n"
    "  --from T, --to T  only requests that arrived in this part: seconds since the first\n"
    "                    arrival, or an RFC 3339 time such as 2025-01-31T12:00:00Z\n"
    "\n"
    "What was not measured is null, an empty field in csv. There texts that a spreadsheet would\n"
    "take for a formula (= + - @) get an apostrophe in front. The last three are of traces that were\n"
    "recorded with --sites; their figures are estimates, as those of `reqscope report --sites`.\n"
    "\n"
    "examples:\n"
    "  reqscope export --format parquet -o app.parquet app.rqs\n"
    "  duckdb -c \"select route, median(latency_ns) from 'app.parquet' group by route\"\n"
    "  reqscope export --format hgrm --route 'GET /' app.rqs > app.hgrm\n"
    "  reqscope export --format pprof -o app.pb.gz app.rqs && go tool pprof -tags app.pb.gz\n"
    "\n"
    "exit status: 0 good; 2 a mistake in the command, or a file that is unreadable or damaged\n"
    "(what can be read of it is exported all the same).\n";

struct export_options {
	const struct rqs_exporter *exporter;
	struct rqs_view_options view;
	const char *route;
};

enum own_option {
	OPTION_FORMAT = RQS_OWN_OPTION,
	OPTION_ROUTE,
};

static const struct option own_options[] = {
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"route", required_argument, NULL, OPTION_ROUTE},
    {0},
};

static int take_option(void *context, int option, const char *argument)
{
	struct export_options *o = context;

	if (option == OPTION_ROUTE) {
		o->route = argument;
		return RQS_EXIT_OK;
	}
	o->exporter = rqs_exporter_find(argument);
	if (o->exporter)
		return RQS_EXIT_OK;
	return rqs_usage_error(&rqs_command_export, "no format '%s'; there are %s", argument, rqs_exporter_names());
}

/* What is wrong with the command as a whole; RQS_EXIT_OK when nothing is. */
static int check(const struct export_options *o, char *const *files, int count)
{
	const struct rqs_command *command = &rqs_command_export;

	if (!o->exporter)
		return rqs_usage_error(command, "which --format? There are %s", rqs_exporter_names());
	if (!count)
		return rqs_usage_error(command, "which trace? Give at least one FILE");
	for (int i = 0; i < count; i++)
		for (int j = 0; j < i; j++)
			if (!strcmp(files[i], files[j]))
				return rqs_usage_error(command, "'%s' is given twice", files[i]);
	if (o->exporter->binary && !o->view.output && isatty(STDOUT_FILENO))
		return rqs_usage_error(command, "%s is nothing for a terminal; give a file with -o", o->exporter->name);
	return RQS_EXIT_OK;
}

struct exporting {
	struct export_options *options;
	char *const *files;
	unsigned count;
	struct rqs_traces traces;
	struct rqs_export what;
	void *state;
	int status;
	struct rqs_chosen chosen;
};

static void take_rows(void *context, const struct rqs_request_rows *rows)
{
	struct exporting *e = context;
	struct rqs_chosen *chosen = &e->chosen;
	const uint64_t *time = rows->block->column[RQS_COL_TIME], *route = rows->block->column[RQS_COL_ROUTE];

	chosen->rows = rows;
	chosen->count = 0;
	for (uint32_t i = 0; i < rows->block->rows; i++) {
		uint64_t arrival = rows->first_time + time[i] * 1000;

		chosen->index[chosen->count] = (uint16_t)i;
		chosen->count += arrival >= rows->from && arrival < rows->to &&
				 (!e->what.route || rqs_export_has_route(&e->what, rows->route[route[i]]));
	}
	if (chosen->count)
		e->options->exporter->take(e->state, chosen);
}

/* Where no trace has what the format shows, nothing is written. */
static bool has_content(struct exporting *e)
{
	unsigned with = 0;

	if (!rqs_anything_readable(&e->traces))
		return false;
	if (!e->options->exporter->needs_sites)
		return true;
	for (unsigned i = 0; i < e->count; i++) {
		const struct rqs_trace *t = &e->traces.trace[i];

		with += t->result.sites.known;
		if (!t->fatal && !t->result.sites.known)
			rqs_complain_of_file(t->file, "has no call sites: it was recorded without --sites");
	}
	if (!with)
		e->status = RQS_EXIT_USAGE;
	return with;
}

static bool export_to(FILE *out, void *context)
{
	struct exporting *e = context;
	const struct rqs_exporter *exporter = e->options->exporter;

	e->what = (struct rqs_export){.traces = &e->traces, .out = out, .route = e->options->route};
	e->state = exporter->start(&e->what);
	e->options->view.load.rows = exporter->take ? take_rows : NULL;
	e->options->view.load.rows_context = e;
	e->options->view.load.sites = exporter->needs_sites;
	e->status = rqs_load_and_tell(&e->traces, e->files, e->count, &e->options->view);
	bool content = has_content(e);
	if (content)
		exporter->finish(e->state);
	exporter->free(e->state);
	rqs_traces_free(&e->traces);
	return content;
}

static int run_export(int argc, char **argv)
{
	struct export_options options = {0};
	const struct rqs_own_options own = {own_options, take_option, &options};

	if (!rqs_view_options_parse(&options.view, &rqs_command_export, &own, argc, argv))
		return options.view.status;
	struct exporting e = {
	    .options = &options,
	    .files = argv + options.view.first,
	    .count = (unsigned)(argc - options.view.first),
	};
	int status = check(&options, e.files, (int)e.count);
	if (status)
		return status;
	char *problem = rqs_output_stream(options.view.output, options.view.force, 0600, export_to, &e);
	if (problem) {
		rqs_complain("%s", problem);
		e.status = RQS_EXIT_USAGE;
	}
	free(problem);
	return e.status;
}

const struct rqs_command rqs_command_export = {
    .name = "export",
    .summary = "the requests for other programs",
    .usage = usage,
    .run = run_export,
};
