/* compare.c - `reqscope compare`: two or more sides and their differences. */
#include "cmd/options.h"
#include "render/output.h"
#include "report/compare_doc.h"
#include "report/compare_json.h"

#include <stdlib.h>

static const char usage[] =
    "usage: reqscope compare [OPTIONS] BASE NEW...\n"
    "\n"
    "Each side's latency, throughput, CPU and memory, and how the others differ from BASE.\n"
    "A side is a trace, several runs (a1.rqs,a2.rqs) or a quoted pattern ('a-*.rqs');\n"
    "NAME= in front names it.\n"
    "\n"
    "  --format FORMAT   text (default), json, md or html\n"
    "  -o, --output OUT  write to the file OUT, which must not exist\n"
    "  -f, --force       replace an existing OUT\n"
    "  --skip S          leave out requests that arrived in the first S seconds (a warm-up)\n"
    "  --from T, --to T  only requests that arrived in this part: seconds since each trace's\n"
    "                    first arrival, or an RFC 3339 time\n"
    "\n"
    "examples:\n"
    "  reqscope compare old.rqs new.rqs\n"
    "  reqscope compare Gin=gin.rqs Fiber=fiber.rqs Express=express.rqs\n"
    "  reqscope compare --skip 5 before='before-*.rqs' after='after-*.rqs'\n"
    "  reqscope compare --format html -o compare.html old.rqs new.rqs\n"
    "\n"
    "exit status: 0 good; 2 a mistake in the command, or a file that is unreadable or damaged.\n";

static bool all_readable(const struct rqs_traces *traces)
{
	for (unsigned i = 0; i < traces->count; i++)
		if (traces->trace[i].fatal)
			return false;
	return true;
}

static int compare(struct rqs_comparison *c, struct rqs_view_options *options)
{
	int status = rqs_load_and_tell(&c->traces, c->file, c->files, options);

	if (!all_readable(&c->traces))
		return status;
	rqs_sides_unite(c);
	return rqs_show(rqs_compare_doc(c), rqs_compare_json(c), options, status);
}

static int run_compare(int argc, char **argv)
{
	struct rqs_view_options options;
	struct rqs_comparison c;
	int status;

	if (!rqs_view_options_parse(&options, &rqs_command_compare, argc, argv))
		return options.status;
	if (argc - options.first < 2)
		return rqs_usage_error(&rqs_command_compare, "give at least two sides: BASE NEW...");
	char *problem = rqs_output_check(options.output, options.force);
	if (!problem)
		problem = rqs_sides_parse(&c, argv + options.first, (unsigned)(argc - options.first));
	else
		c = (struct rqs_comparison){0};
	if (problem) {
		rqs_complain("%s", problem);
		status = RQS_EXIT_USAGE;
	} else {
		status = compare(&c, &options);
	}
	free(problem);
	rqs_comparison_free(&c);
	return status;
}

const struct rqs_command rqs_command_compare = {
    .name = "compare",
    .summary = "two or more traces side by side",
    .usage = usage,
    .run = run_compare,
};
