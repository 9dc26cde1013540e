/*
 * compare_doc.c - who is faster, by what factor, and where.
 *
 * Two or three sides are columns of one table, with the differences beside
 * them. More sides become its rows, so that it stays readable. The routes
 * follow, the sides of each below one another.
 */
#include "report/compare_doc.h"
#include "report/figures.h"
#include "report/preflight.h"
#include "report/report_doc.h"
#include "base/alloc.h"
#include "render/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIDES_AS_COLUMNS 3 /* at most */
#define ROUTE_LINES_MAX 90 /* shown; JSON has all */

static double whole(const struct rqs_side *s, enum rqs_figure f)
{
	return rqs_figure_value(f, &s->result, &s->result.all);
}

/* Whether sides are compared by it: it is known of any, or of all when the others' runtimes may have no such thing. */
static bool is_compared(const struct rqs_comparison *c, enum rqs_figure f)
{
	unsigned known = 0;

	for (unsigned i = 0; i < c->sides; i++)
		known += !isnan(whole(&c->side[i], f));
	return rqs_figures[f].scope == RQS_SCOPE_RUNTIME ? known == c->sides : known > 0;
}

static enum rqs_tone tone_of(int judgement)
{
	return judgement > 0 ? RQS_TONE_GOOD : judgement < 0 ? RQS_TONE_BAD : RQS_TONE_PLAIN;
}

/* ---- head ---- */

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
		double a = whole(&c->side[0], told[i]), b = whole(new, told[i]);

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

/* ---- two or three sides: a figure a row ---- */

static void add_figure_row(struct rqs_table *t, const struct rqs_comparison *c, enum rqs_figure f)
{
	double base = whole(&c->side[0], f);

	rqs_table_row(t, f == RQS_FIGURE_CPU || f == RQS_FIGURE_REQUEST_BYTES);
	rqs_table_cell(t, RQS_TONE_PLAIN, rqs_format("%s", rqs_figures[f].title));
	rqs_table_cell(t, RQS_TONE_PLAIN, rqs_figure_text(f, base));
	for (unsigned i = 1; i < c->sides; i++) {
		double value = whole(&c->side[i], f);
		enum rqs_tone tone = tone_of(rqs_figure_judge(f, base, value));

		rqs_table_cell(t, RQS_TONE_PLAIN, rqs_figure_text(f, value));
		rqs_table_cell(t, tone, rqs_human_change(rqs_figure_ratio(base, value) - 1));
		rqs_table_cell(t, tone, rqs_figure_factor(f, base, value));
	}
}

static void add_sides_as_columns(struct rqs_doc *d, const struct rqs_comparison *c)
{
	struct rqs_table *t = rqs_doc_table(d);

	rqs_table_column(t, false, "");
	rqs_table_column(t, true, c->side[0].name);
	for (unsigned i = 1; i < c->sides; i++) {
		rqs_table_column(t, true, c->side[i].name);
		rqs_table_column(t, true, "CHANGE");
		rqs_table_column(t, false, "");
	}
	for (unsigned f = 0; f < RQS_FIGURE_COUNT_OF; f++)
		if (is_compared(c, f))
			add_figure_row(t, c, f);
}

/* ---- more sides: a side a row ---- */

static const struct {
	enum rqs_figure figure;
	const char *head;
} side_columns[] = {
    {RQS_FIGURE_THROUGHPUT, "REQUESTS/S"},
    {RQS_FIGURE_P50, "p50"},
    {RQS_FIGURE_P99, "p99"},
    {RQS_FIGURE_P999, "p99.9"},
    {RQS_FIGURE_CPU, "CPU/REQ"},
    {RQS_FIGURE_RSS_MEAN, "MEMORY"},
    {RQS_FIGURE_RSS_PEAK, "PEAK"},
    {RQS_FIGURE_ALLOC_BYTES, "ALLOC/REQ"},
    {RQS_FIGURE_ERROR_RATE, "ERRORS"},
};
#define SIDE_COLUMNS (sizeof(side_columns) / sizeof(side_columns[0]))

static bool is_best(const struct rqs_comparison *c, const struct rqs_side *s, enum rqs_figure f)
{
	double mine = whole(s, f);
	bool differs = false;

	for (unsigned i = 0; i < c->sides; i++) {
		int judgement = rqs_figure_judge(f, mine, whole(&c->side[i], f));

		if (judgement > 0)
			return false;
		differs |= judgement < 0;
	}
	return differs && !isnan(mine);
}

static struct rqs_table *start_side_table(struct rqs_doc *d, const struct rqs_comparison *c)
{
	struct rqs_table *t = rqs_doc_table(d);

	rqs_table_column(t, false, "");
	for (unsigned i = 0; i < SIDE_COLUMNS; i++)
		if (is_compared(c, side_columns[i].figure))
			rqs_table_column(t, true, side_columns[i].head);
	return t;
}

static void add_sides_as_rows(struct rqs_doc *d, const struct rqs_comparison *c)
{
	struct rqs_table *t = start_side_table(d, c);

	for (unsigned i = 0; i < c->sides; i++) {
		rqs_table_row(t, false);
		rqs_table_cell(t, RQS_TONE_STRONG, rqs_format("%s", c->side[i].name));
		for (unsigned k = 0; k < SIDE_COLUMNS; k++) {
			enum rqs_figure f = side_columns[k].figure;

			if (is_compared(c, f))
				rqs_table_cell(t, is_best(c, &c->side[i], f) ? RQS_TONE_GOOD : RQS_TONE_PLAIN,
					       rqs_figure_text(f, whole(&c->side[i], f)));
		}
	}
}

static void add_factors(struct rqs_doc *d, const struct rqs_comparison *c)
{
	rqs_doc_heading(d, "As a multiple of %s", c->side[0].name);
	struct rqs_table *t = start_side_table(d, c);

	for (unsigned i = 1; i < c->sides; i++) {
		rqs_table_row(t, false);
		rqs_table_cell(t, RQS_TONE_STRONG, rqs_format("%s", c->side[i].name));
		for (unsigned k = 0; k < SIDE_COLUMNS; k++) {
			enum rqs_figure f = side_columns[k].figure;
			double base = whole(&c->side[0], f), value = whole(&c->side[i], f);

			if (is_compared(c, f))
				rqs_table_cell(t, tone_of(rqs_figure_judge(f, base, value)),
					       rqs_human_factor(rqs_figure_ratio(base, value)));
		}
	}
}

/* ---- routes ---- */

static const struct {
	enum rqs_figure figure;
	const char *head;
	bool change; /* the difference to the base stands beside it */
} route_columns[] = {
    {RQS_FIGURE_THROUGHPUT, "REQUESTS/S", true},
    {RQS_FIGURE_P50, "p50", true},
    {RQS_FIGURE_P99, "p99", true},
    {RQS_FIGURE_P999, "p99.9", false},
    {RQS_FIGURE_ALLOC_BYTES, "ALLOC/REQ", true},
    {RQS_FIGURE_ERROR_RATE, "ERRORS", false},
};
#define ROUTE_COLUMNS (sizeof(route_columns) / sizeof(route_columns[0]))

static void add_route_side(struct rqs_table *t, const struct rqs_comparison *c, unsigned row, unsigned side)
{
	const struct rqs_side *s = &c->side[side];
	const struct rqs_cell *cell = rqs_side_cell(s, row), *base = rqs_side_cell(&c->side[0], row);

	for (unsigned k = 0; k < ROUTE_COLUMNS; k++) {
		enum rqs_figure f = route_columns[k].figure;
		double value = cell ? rqs_figure_value(f, &s->result, cell) : NAN;
		double before = base ? rqs_figure_value(f, &c->side[0].result, base) : NAN;

		if (!is_compared(c, f))
			continue;
		rqs_table_cell(t, RQS_TONE_PLAIN, rqs_figure_text(f, value));
		if (route_columns[k].change)
			rqs_table_cell(t, tone_of(rqs_figure_judge(f, before, value)),
				       side && !isnan(value) && !isnan(before)
					   ? rqs_human_change(rqs_figure_ratio(before, value) - 1)
					   : NULL);
	}
}

static void add_route_columns(struct rqs_table *t, const struct rqs_comparison *c)
{
	rqs_table_column(t, false, "ROUTE");
	rqs_table_column(t, false, "SIDE");
	for (unsigned k = 0; k < ROUTE_COLUMNS; k++) {
		if (!is_compared(c, route_columns[k].figure))
			continue;
		rqs_table_column(t, true, route_columns[k].head);
		if (route_columns[k].change)
			rqs_table_column(t, true, "");
	}
}

static void add_routes(struct rqs_doc *d, const struct rqs_comparison *c)
{
	int *rows = rqs_comparison_rows(c);
	unsigned n = 0;

	if (*rows >= 0) {
		rqs_doc_heading(d, "Routes");
		struct rqs_table *t = rqs_doc_table(d);

		add_route_columns(t, c);
		for (; rows[n] >= 0 && (n + 1) * c->sides <= ROUTE_LINES_MAX; n++) {
			for (unsigned i = 0; i < c->sides; i++) {
				rqs_table_row(t, i == 0);
				rqs_table_cell(t, RQS_TONE_STRONG,
					       i ? NULL : rqs_route_text(c->traces.routes, (unsigned)rows[n]));
				rqs_table_cell(t, RQS_TONE_PLAIN, rqs_format("%s", c->side[i].name));
				add_route_side(t, c, (unsigned)rows[n], i);
			}
		}
	}
	unsigned more = 0;
	while (rows[n + more] >= 0)
		more++;
	if (more)
		rqs_doc_text(d, RQS_TONE_DIM, "and %u more routes (--format json has all)", more);
	free(rows);
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

struct rqs_doc *rqs_compare_doc(const struct rqs_findings *f)
{
	const struct rqs_comparison *c = f->c;
	char *title = make_title(c);
	struct rqs_doc *d = rqs_doc_new(title);

	rqs_doc_heading(d, "%s", title);
	free(title);
	add_warnings(d, c);
	add_sides(d, c);
	if (c->sides <= SIDES_AS_COLUMNS) {
		for (unsigned i = 1; i < c->sides; i++)
			add_headline(d, c, &c->side[i]);
		add_sides_as_columns(d, c);
	} else {
		add_sides_as_rows(d, c);
		add_factors(d, c);
	}
	add_routes(d, c);
	rqs_preflight(c, add_last_finding, d);
	return d;
}
