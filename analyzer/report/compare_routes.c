/* compare_routes.c - what latencies consist of, and the routes, the sides of each below one another. */
#include "report/attribution.h"
#include "report/compare_parts.h"
#include "report/report_doc.h"
#include "base/alloc.h"
#include "render/units.h"

#include <math.h>
#include <stdlib.h>

#define ROUTE_LINES_MAX 90 /* shown; JSON has all */

/* ---- attribution ---- */

struct compositions {
	unsigned sides;
	struct rqs_composition *side;
};

static bool part_matters(const struct compositions *all, unsigned part)
{
	bool measured = false;

	for (unsigned i = 0; i < all->sides; i++)
		measured |= all->side[i].requests > 0 && all->side[i].measured[part] && all->side[i].part[part] != 0;
	return measured;
}

static void add_change(struct rqs_table *t, const struct compositions *all, unsigned side, double base, double value,
		       double whole)
{
	if (!side)
		return;
	char *change = rqs_human_time(value - base);

	rqs_table_cell(t, RQS_TONE_PLAIN, rqs_format("%s%s", value > base ? "+" : "", change));
	rqs_table_cell(t, RQS_TONE_DIM, whole != 0 ? rqs_human_percent((value - base) / whole) : NULL);
	free(change);
	(void)all;
}

static void add_part_row(struct rqs_table *t, const struct compositions *all, unsigned part)
{
	rqs_table_row(t, false);
	rqs_table_format(t, RQS_TONE_PLAIN, "%s", rqs_part_title(part));
	for (unsigned i = 0; i < all->sides; i++) {
		const struct rqs_composition *s = &all->side[i];

		rqs_table_cell(t, RQS_TONE_PLAIN, rqs_human_time(s->measured[part] ? s->part[part] : NAN));
		add_change(t, all, i, all->side[0].part[part], s->part[part], s->latency - all->side[0].latency);
	}
}

static void add_latency_row(struct rqs_table *t, const struct compositions *all)
{
	rqs_table_row(t, true);
	rqs_table_format(t, RQS_TONE_STRONG, "together");
	for (unsigned i = 0; i < all->sides; i++) {
		double latency = all->side[i].latency, base = all->side[0].latency;

		rqs_table_cell(t, RQS_TONE_STRONG, rqs_human_time(latency));
		add_change(t, all, i, base, latency, latency - base);
	}
}

/* Two or three sides are columns, with the changes beside them. */
static void add_parts_as_rows(struct rqs_doc *d, const struct rqs_findings *f, const struct compositions *all)
{
	struct rqs_table *t = rqs_doc_table(d);

	rqs_table_column(t, false, "");
	for (unsigned i = 0; i < all->sides; i++) {
		rqs_table_column(t, true, f->c->side[i].name);
		if (i)
			rqs_table_column(t, true, "CHANGE");
		if (i)
			rqs_table_column(t, true, "OF IT");
	}
	for (unsigned p = 0; p < RQS_PARTS_AND_OTHER; p++)
		if (part_matters(all, p))
			add_part_row(t, all, p);
	add_latency_row(t, all);
}

static void add_sides_as_rows(struct rqs_doc *d, const struct rqs_findings *f, const struct compositions *all)
{
	struct rqs_table *t = rqs_doc_table(d);

	rqs_table_column(t, false, "");
	for (unsigned p = 0; p < RQS_PARTS_AND_OTHER; p++)
		if (part_matters(all, p))
			rqs_table_column(t, true, rqs_part_title(p));
	rqs_table_column(t, true, "together");
	for (unsigned i = 0; i < all->sides; i++) {
		const struct rqs_composition *s = &all->side[i];

		rqs_table_row(t, false);
		rqs_table_format(t, RQS_TONE_STRONG, "%s", f->c->side[i].name);
		for (unsigned p = 0; p < RQS_PARTS_AND_OTHER; p++)
			if (part_matters(all, p))
				rqs_table_cell(t, RQS_TONE_PLAIN, rqs_human_time(s->measured[p] ? s->part[p] : NAN));
		rqs_table_cell(t, RQS_TONE_STRONG, rqs_human_time(s->latency));
	}
}

static void add_composition(struct rqs_doc *d, const struct rqs_findings *f, double share)
{
	unsigned sides = f->c->sides;
	struct compositions all = {sides, rqs_zalloc(sides, sizeof(*all.side))};
	bool known = true;

	for (unsigned i = 0; i < sides; i++) {
		all.side[i] = rqs_compose(&f->c->side[i].result, RQS_WHOLE, share);
		known &= all.side[i].requests > 0;
	}
	if (known) {
		rqs_doc_text(d, RQS_TONE_PLAIN, share < 1 ? "Mean latency of the slowest 1 %%" : "Mean latency");
		if (sides <= RQS_SIDES_AS_COLUMNS)
			add_parts_as_rows(d, f, &all);
		else
			add_sides_as_rows(d, f, &all);
	}
	free(all.side);
}

void rqs_doc_add_attribution(struct rqs_doc *d, const struct rqs_findings *f)
{
	rqs_doc_heading(d, "Where the time goes");
	add_composition(d, f, 1);
	add_composition(d, f, RQS_SLOWEST);
	rqs_doc_text(d, RQS_TONE_DIM,
		     "\"other\" is what was not measured: the difference of the latency and the parts.");
}

/* ---- routes ---- */

static const struct {
	enum rqs_figure figure;
	const char *head;
	bool change; /* the difference to the base stands beside it */
} columns[] = {
    {RQS_FIGURE_THROUGHPUT, "REQUESTS/S", true},
    {RQS_FIGURE_P50, "p50", true},
    {RQS_FIGURE_P99, "p99", true},
    {RQS_FIGURE_P999, "p99.9", false},
    {RQS_FIGURE_ALLOC_BYTES, "ALLOC/REQ", true},
    {RQS_FIGURE_ERROR_RATE, "ERRORS", false},
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static void add_change_cell(struct rqs_table *t, const struct rqs_row *row, unsigned side)
{
	double ratio = row && side ? rqs_figure_ratio(row->side[0].value, row->side[side].value) : NAN;

	rqs_table_cell(t, row ? rqs_tone_of_difference(row->figure, row, side) : RQS_TONE_PLAIN,
		       isnan(ratio) ? NULL : rqs_human_change(ratio - 1));
	rqs_table_sort_key(t, ratio);
}

static void add_route_side(struct rqs_table *t, const struct rqs_findings *f, int route, unsigned side)
{
	for (unsigned k = 0; k < COLUMNS; k++) {
		enum rqs_figure figure = columns[k].figure;
		const struct rqs_row *row = rqs_rows_find(&f->rows, figure, route);
		double value = row ? row->side[side].value : NAN;

		if (!rqs_is_compared(f, figure))
			continue;
		rqs_table_cell(t, RQS_TONE_PLAIN, rqs_figure_text(figure, value));
		rqs_table_sort_key(t, value);
		if (columns[k].change)
			add_change_cell(t, row, side);
	}
	const struct rqs_row *p99 = rqs_rows_find(&f->rows, RQS_FIGURE_P99, route);
	const struct rqs_row *p50 = rqs_rows_find(&f->rows, RQS_FIGURE_P50, route);
	const struct rqs_row *row = side && p99 && p99->difference[side].verdict != RQS_VERDICT_UNRESOLVED ? p99 : p50;

	rqs_table_cell(t, side && row ? rqs_tone_of_difference(row->figure, row, side) : RQS_TONE_PLAIN,
		       side && row ? rqs_verdict_text(&row->difference[side]) : NULL);
}

static struct rqs_table *start_table(struct rqs_doc *d, const struct rqs_findings *f)
{
	struct rqs_table *t = rqs_doc_table(d);

	rqs_table_column(t, false, "ROUTE");
	rqs_table_column(t, false, "SIDE");
	for (unsigned k = 0; k < COLUMNS; k++) {
		if (!rqs_is_compared(f, columns[k].figure))
			continue;
		rqs_table_column(t, true, columns[k].head);
		if (columns[k].change)
			rqs_table_column(t, true, "CHANGE");
	}
	rqs_table_column(t, false, "VERDICT");
	return t;
}

void rqs_doc_add_compared_routes(struct rqs_doc *d, const struct rqs_findings *f)
{
	const struct rqs_comparison *c = f->c;
	int *routes = rqs_comparison_rows(c);
	unsigned n = 0, more = 0;

	if (*routes >= 0) {
		rqs_doc_heading(d, "Routes");
		struct rqs_table *t = start_table(d, f);

		for (; routes[n] >= 0 && (n + 1) * c->sides <= ROUTE_LINES_MAX; n++)
			for (unsigned i = 0; i < c->sides; i++) {
				rqs_table_row(t, i == 0);
				rqs_table_cell(t, i ? RQS_TONE_DIM : RQS_TONE_STRONG,
					       rqs_route_text(c->traces.routes, (unsigned)routes[n]));
				rqs_table_cell(t, RQS_TONE_PLAIN, rqs_format("%s", c->side[i].name));
				add_route_side(t, f, routes[n], i);
			}
	}
	while (routes[n + more] >= 0)
		more++;
	if (more)
		rqs_doc_text(d, RQS_TONE_DIM, "and %u more routes (--format json has all)", more);
	free(routes);
}
