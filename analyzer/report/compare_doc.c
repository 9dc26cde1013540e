/*
 * compare_doc.c - who is faster, by what factor, how sure that is, and where:
 * the order of a comparison's parts, and what stands above them.
 */
#include "report/compare_doc.h"
#include "report/charts.h"
#include "report/compare_parts.h"
#include "report/preflight.h"
#include "report/report_doc.h"
#include "base/alloc.h"
#include "render/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADLINES_MAX 3 /* of more sides the table says it better */

static void add_sides(struct rqs_doc *d, const struct rqs_comparison *c)
{
	for (unsigned i = 0; i < c->sides; i++) {
		const struct rqs_side *s = &c->side[i];
		const struct rqs_process *p = rqs_trace_main_process(&c->traces.trace[s->first]);
		char *requests = rqs_human_count((double)s->result.all.requests);
		char *duration = rqs_human_time(s->result.duration);
		char *runs = s->runs == 1 ? rqs_format("%s", c->file[s->first]) : rqs_format("%u runs", s->runs);

		rqs_doc_fact(d, s->name, "%s: %s requests in %s%s%s%s%s%s", runs, requests, duration,
			     p && p->runtime ? ", " : "", p && p->runtime ? p->runtime : "",
			     p && p->runtime_version ? " " : "", p && p->runtime_version ? p->runtime_version : "",
			     i ? "" : " (base)");
		free(requests);
		free(duration);
		free(runs);
	}
}

static void add_finding(void *context, const char *id, const char *text)
{
	if (strcmp(id, "single_runs"))
		rqs_doc_warning(context, "%s", text);
}

static void add_last_finding(void *context, const char *id, const char *text)
{
	if (!strcmp(id, "single_runs"))
		rqs_doc_text(context, RQS_TONE_DIM, "%s", text);
}

static void add_warnings(struct rqs_doc *d, const struct rqs_comparison *c)
{
	for (unsigned i = 0; i < c->sides; i++)
		rqs_doc_add_warnings(d, &c->side[i].result, c->side[i].name);
	rqs_preflight(c, add_finding, d);
}

/* "asyncio against threaded: throughput 1.32x higher, p50 1.20x faster, ..." */
static void add_headline(struct rqs_doc *d, const struct rqs_comparison *c, const struct rqs_side *new)
{
	static const enum rqs_figure told[] = {RQS_FIGURE_THROUGHPUT, RQS_FIGURE_P50, RQS_FIGURE_P99, RQS_FIGURE_CPU,
					       RQS_FIGURE_RSS_MEAN};
	char *text = rqs_format("%s against %s:", new->name, c->side[0].name);
	const char *separator = " ";

	for (unsigned i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		double a = rqs_figure_value(told[i], &c->side[0].result, &c->side[0].result.all);
		double b = rqs_figure_value(told[i], &new->result, &new->result.all);

		if (isnan(rqs_figure_ratio(a, b)))
			continue;
		char *factor = rqs_figure_factor(told[i], a, b);
		char *longer = rqs_format("%s%s%s %s", text, separator, rqs_figures[told[i]].title, factor);
		free(text);
		free(factor);
		text = longer;
		separator = "; ";
	}
	if (*separator == ';')
		rqs_doc_text(d, RQS_TONE_STRONG, "%s", text);
	free(text);
}

static char *make_title(const struct rqs_comparison *c)
{
	char *title = rqs_format("%s", c->side[0].name);

	for (unsigned i = 1; i < c->sides; i++) {
		char *longer = rqs_format("%s vs %s", title, c->side[i].name);

		free(title);
		title = longer;
	}
	return title;
}

void rqs_doc_add_compared_charts(struct rqs_doc *d, const struct rqs_findings *f)
{
	const struct rqs_comparison *c = f->c;
	struct rqs_chart_side *side = rqs_zalloc(c->sides, sizeof(*side));

	for (unsigned i = 0; i < c->sides; i++) {
		side[i] = (struct rqs_chart_side){.name = c->side[i].name,
						  .result = &c->side[i].result,
						  .run = &c->traces.trace[c->side[i].first].result,
						  .segments = rqs_side_segments(c, &c->side[i], RQS_WHOLE)};
	}
	rqs_doc_heading(d, "Charts");
	rqs_doc_add_charts(d, side, c->sides);
	for (unsigned i = 0; i < c->sides; i++)
		rqs_segments_free(&side[i].segments);
	free(side);
}

struct rqs_doc *rqs_compare_doc(const struct rqs_findings *f)
{
	const struct rqs_comparison *c = f->c;
	char *title = make_title(c);
	struct rqs_doc *d = rqs_doc_new(title);

	rqs_doc_heading(d, "%s", title);
	free(title);
	add_warnings(d, c);
	add_sides(d, c);
	for (unsigned i = 1; i < c->sides && c->sides <= HEADLINES_MAX; i++)
		add_headline(d, c, &c->side[i]);
#define ADD_PART(part) rqs_doc_add_##part(d, f);
	RQS_COMPARE_PARTS(ADD_PART)
#undef ADD_PART
	rqs_preflight(c, add_last_finding, d);
	return d;
}
