/* gates.c - judging gates. */
#include "report/gates.h"
#include "report/preflight.h"
#include "report/report_doc.h"
#include "base/alloc.h"
#include "render/units.h"
#include "stats/adjust.h"
#include "stats/permutation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NO_ROUTE (-2)
#define LEVEL 0.05

static const char thin_tail[] = "too few requests beyond this quantile; record longer";

static int find_route(const struct rqs_comparison *c, const char *route)
{
	if (!route)
		return RQS_WHOLE;
	for (unsigned row = 0; row < rqs_routes_count(c->traces.routes); row++) {
		char *text = rqs_route_text(c->traces.routes, row);
		bool same = !strcmp(text, route);

		free(text);
		if (same)
			return (int)row;
	}
	return NO_ROUTE;
}

char *rqs_gates_check(const struct rqs_gates *g, const struct rqs_comparison *c)
{
	for (unsigned i = 0; i < g->count; i++)
		if (find_route(c, g->gate[i].route) == NO_ROUTE)
			return rqs_format("gate '%s': no trace has a route '%s'; it is written as in the report, "
					  "'GET /users/{}'",
					  g->gate[i].text, g->gate[i].route);
	return NULL;
}

/* What the difference may be at most, as rqs_verdict_of takes it: turned over for what is better when higher. */
static double allowance(const struct rqs_gate *gate)
{
	if (gate->kind == RQS_GATE_DIFFERENCE)
		return gate->at_most ? gate->bound : -gate->bound;
	return gate->at_most ? gate->bound : 1 / (1 + gate->bound) - 1;
}

/* The value itself against the limit, with its interval within the runs where there is one. */
static void judge_limit(struct rqs_gate_result *r, const struct rqs_row_side *side)
{
	bool known = side->why == RQS_INTERVAL || (side->why == RQS_THIN_TAIL && side->runs > 1);

	if (rqs_figure_is_tail(r->gate->figure) && !known) {
		r->verdict = RQS_VERDICT_UNRESOLVED;
		r->why = thin_tail;
		return;
	}
	bool interval = side->why == RQS_INTERVAL;
	double low = interval ? side->low : side->value, high = interval ? side->high : side->value;
	double bound = r->gate->bound;

	if (!r->gate->at_most) {
		double other = -low;

		low = -high;
		high = other;
		bound = -bound;
	}
	r->verdict = high <= bound ? RQS_VERDICT_OK : low > bound ? RQS_VERDICT_REGRESSED : RQS_VERDICT_INCONCLUSIVE;
}

/* `gates` are corrected for together. */
static void judge_difference(struct rqs_gate_result *r, const struct rqs_row *row, unsigned gates,
			     const struct rqs_compare_options *options)
{
	const struct rqs_difference *d = &r->difference;
	const unsigned runs[] = {row->side[0].runs, row->side[r->side].runs};

	/* A ratio to 0 says nothing; a percentage of it is 0. */
	double part = r->gate->at_most ? r->gate->bound * r->base : -r->gate->bound * r->base;
	double allowed = r->gate->kind == RQS_GATE_RATIO && !d->ratio ? part : allowance(r->gate);

	r->verdict = rqs_verdict_of(d, (int)rqs_figures[r->gate->figure].better, allowed, options->strict);
	if (r->verdict == RQS_VERDICT_NONE) {
		r->verdict = RQS_VERDICT_INCONCLUSIVE;
		r->why = "one run a side says nothing of how this varies; give several runs a side";
	} else if (r->verdict == RQS_VERDICT_UNRESOLVED) {
		r->why = thin_tail;
	} else if (r->verdict == RQS_VERDICT_INCONCLUSIVE && d->basis == RQS_BASIS_BETWEEN_RUNS &&
		   rqs_permutation_least_p(runs[0], runs[1]) * gates > LEVEL) {
		r->why = "so few runs can't decide so many gates, however much differs; give more runs a side";
	} else if (d->basis == RQS_BASIS_WITHIN_RUNS && !options->allow_single_run) {
		r->verdict = RQS_VERDICT_INCONCLUSIVE;
		r->why = "one run a side; give several, or --allow-single-run";
	}
}

static void judge(struct rqs_gate_result *r, const struct rqs_comparison *c, const struct rqs_row *row, unsigned gates,
		  const struct rqs_compare_options *options)
{
	bool relative = r->gate->kind != RQS_GATE_LIMIT;
	const struct rqs_side *base = &c->side[0], *side = &c->side[r->side];

	if (!side->result.all.requests || (relative && !base->result.all.requests)) {
		r->verdict = RQS_VERDICT_NOT_COMPARABLE;
		r->why = side->result.all.requests ? "no requests of the base" : "no requests of this side";
	} else if (isnan(r->value) || (relative && isnan(r->base))) {
		r->verdict = RQS_VERDICT_NOT_COMPARABLE;
		r->why = isnan(r->value) ? "not measured of this side" : "not measured of the base";
	} else if (relative && rqs_figure_is_latency(r->gate->figure) && !options->allow_unmatched_load &&
		   !rqs_load_matches(c, r->side)) {
		r->verdict = RQS_VERDICT_NOT_COMPARABLE;
		r->why = "the loads differ; --allow-unmatched-load compares them all the same";
	} else if (relative && rqs_figure_is_latency(r->gate->figure) && !options->allow_unmatched_load &&
		   row->route == RQS_WHOLE && !rqs_mix_matches(c, r->side)) {
		r->verdict = RQS_VERDICT_NOT_COMPARABLE;
		r->why =
		    "the route mixes differ; gate the routes, or --allow-unmatched-load compares them all the same";
	} else if (relative) {
		judge_difference(r, row, gates, options);
	} else {
		judge_limit(r, &row->side[r->side]);
	}
}

static void start_result(struct rqs_gate_result *r, const struct rqs_comparison *c, const struct rqs_row *row)
{
	const struct rqs_gate *gate = r->gate;

	r->base = row ? row->side[0].value : NAN;
	r->value = row ? row->side[r->side].value : NAN;
	r->difference.p = r->difference.adjusted = NAN;
	if (row && gate->kind == RQS_GATE_RATIO)
		r->difference = row->difference[r->side];
	if (row && gate->kind == RQS_GATE_DIFFERENCE)
		r->difference = rqs_row_difference(c, gate->figure, row->route, r->side, false);
	r->difference.adjusted = r->difference.p;
}

/* Holm's correction over the gates, so that many of them don't make false alarms likelier. How many were tested. */
static unsigned adjust(struct rqs_gates *g)
{
	double *p = rqs_zalloc(g->results, sizeof(*p));
	unsigned tests = 0;

	for (unsigned i = 0; i < g->results; i++) {
		p[i] = g->result[i].difference.p;
		tests += !isnan(p[i]);
	}
	rqs_adjust_holm(p, g->results);
	for (unsigned i = 0; i < g->results; i++)
		g->result[i].difference.adjusted = p[i];
	free(p);
	return tests;
}

void rqs_gates_evaluate(struct rqs_gates *g, const struct rqs_comparison *c, const struct rqs_rows *rows,
			const struct rqs_compare_options *options)
{
	g->result = rqs_zalloc((size_t)g->count * c->sides, sizeof(*g->result));
	for (unsigned i = 0; i < g->count; i++)
		for (unsigned side = 1; side < c->sides; side++) {
			struct rqs_gate_result *r = &g->result[g->results++];

			r->gate = &g->gate[i];
			r->side = side;
			start_result(r, c, rqs_rows_find(rows, r->gate->figure, find_route(c, r->gate->route)));
		}
	unsigned tests = adjust(g);
	for (unsigned i = 0; i < g->results; i++) {
		const struct rqs_gate *gate = g->result[i].gate;

		judge(&g->result[i], c, rqs_rows_find(rows, gate->figure, find_route(c, gate->route)), tests, options);
	}
}

bool rqs_gate_passed(const struct rqs_gate_result *r, const struct rqs_compare_options *options)
{
	bool open = r->verdict == RQS_VERDICT_INCONCLUSIVE || r->verdict == RQS_VERDICT_UNRESOLVED;

	return r->verdict == RQS_VERDICT_OK || r->verdict == RQS_VERDICT_IMPROVED ||
	       (open && options->inconclusive_passes);
}

int rqs_gates_status(const struct rqs_gates *g, const struct rqs_compare_options *options)
{
	static const int of_verdict[] = {
	    [RQS_VERDICT_REGRESSED] = 1,
	    [RQS_VERDICT_NOT_COMPARABLE] = 4,
	    [RQS_VERDICT_INCONCLUSIVE] = 3,
	    [RQS_VERDICT_UNRESOLVED] = 3,
	};
	enum rqs_verdict worst = rqs_gates_verdict(g);
	bool open = worst == RQS_VERDICT_INCONCLUSIVE || worst == RQS_VERDICT_UNRESOLVED;

	if (worst <= RQS_VERDICT_IMPROVED || (open && options->inconclusive_passes))
		return 0;
	return of_verdict[worst];
}

enum rqs_verdict rqs_gates_verdict(const struct rqs_gates *g)
{
	enum rqs_verdict worst = RQS_VERDICT_NONE;

	for (unsigned i = 0; i < g->results; i++)
		worst = g->result[i].verdict > worst ? g->result[i].verdict : worst;
	return worst;
}

char *rqs_gate_text(const struct rqs_gate_result *r, const struct rqs_comparison *c)
{
	const struct rqs_difference *d = &r->difference;
	char *base = rqs_figure_text(r->gate->figure, r->base), *value = rqs_figure_text(r->gate->figure, r->value);
	char *change = rqs_difference_text(r->gate->figure, d);
	char *text = r->gate->kind == RQS_GATE_LIMIT || isnan(r->base)
			 ? rqs_format("%s", value)
			 : rqs_format("%s to %s%s%s", base, value, *change ? ", " : "", change);
	char *whole = rqs_format("%s: %s%s%s", c->side[r->side].name, text, r->why ? "; " : "", r->why ? r->why : "");

	free(base);
	free(value);
	free(change);
	free(text);
	return whole;
}
