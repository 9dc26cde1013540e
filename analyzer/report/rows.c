/*
 * rows.c - values, intervals and differences.
 *
 * Where both sides have several runs, a run is the unit: Welch's interval of
 * the mean (of logarithms, where all values are positive) and the permutation
 * test. Otherwise the segments of the runs are, and what that says holds for
 * these runs alone.
 */
#include "report/rows.h"
#include "report/significance.h"
#include "base/alloc.h"
#include "stats/permutation.h"
#include "stats/power.h"
#include "stats/numbers.h"
#include "stats/welch.h"

#include <math.h>
#include <stdlib.h>

#define NEGLIGIBLE 0.001 /* with all of the interval: the same */

/* ---- segments ---- */

struct rqs_segments rqs_side_segments(const struct rqs_comparison *c, const struct rqs_side *side, int route)
{
	static const struct rqs_slices none;
	struct rqs_segments *run = rqs_zalloc(side->runs, sizeof(*run)), pooled;
	const struct rqs_segments **runs = rqs_zalloc(side->runs, sizeof(*runs));

	for (unsigned i = 0; i < side->runs; i++) {
		const struct rqs_result *r = &c->traces.trace[side->first + i].result;
		const struct rqs_cell *cell = rqs_route_cell(r, route);

		rqs_slices_segments(cell ? &cell->slices : &none, &r->grid, RQS_METRIC_COUNT, &run[i]);
		/* A run lasts until its last response, its segments until its last arrival; a rate is that of the run.
		 */
		for (unsigned k = 0; k < run[i].count; k++)
			run[i].segment[k].seconds = r->duration / run[i].count;
		runs[i] = &run[i];
	}
	rqs_segments_pool(&pooled, runs, side->runs);
	for (unsigned i = 0; i < side->runs; i++)
		rqs_segments_free(&run[i]);
	free(run);
	free(runs);
	return pooled;
}

/* ---- estimates within runs: of all figures of one route and side at once, from the same draws ---- */

struct estimates {
	struct rqs_estimate of[RQS_FIGURE_COUNT_OF]; /* in the figure's unit; RQS_NO_VALUES where it has no statistic */
};

static void scale_estimate(struct rqs_estimate *e, double scale)
{
	e->estimate *= scale;
	e->low *= scale;
	e->high *= scale;
	for (unsigned i = 0; e->why == RQS_INTERVAL && i < RQS_RESAMPLES; i++)
		e->replicate[i] *= scale;
}

static void estimate_side(const struct rqs_comparison *c, unsigned side, int route, struct estimates *estimates)
{
	struct rqs_segments segments = rqs_side_segments(c, &c->side[side], route);
	struct rqs_statistic statistic[RQS_FIGURE_COUNT_OF];
	struct rqs_estimate estimate[RQS_FIGURE_COUNT_OF];
	double scale[RQS_FIGURE_COUNT_OF];
	unsigned figure[RQS_FIGURE_COUNT_OF], n = 0;

	for (unsigned f = 0; f < RQS_FIGURE_COUNT_OF; f++) {
		estimates->of[f] = (struct rqs_estimate){.why = RQS_NO_VALUES};
		if (!rqs_figure_statistic(f, &statistic[n], &scale[n]))
			continue;
		figure[n] = f;
		estimate[n++] = (struct rqs_estimate){.replicate = rqs_zalloc(RQS_RESAMPLES, sizeof(double))};
	}
	rqs_bootstrap(&segments, statistic, n, side, estimate);
	for (unsigned i = 0; i < n; i++) {
		scale_estimate(&estimate[i], scale[i]);
		estimates->of[figure[i]] = estimate[i];
	}
	rqs_segments_free(&segments);
}

static void free_estimates(struct estimates *estimates, unsigned sides)
{
	for (unsigned i = 0; i < sides; i++)
		for (unsigned f = 0; f < RQS_FIGURE_COUNT_OF; f++)
			free(estimates[i].of[f].replicate);
	free(estimates);
}

static struct estimates *estimate_all(const struct rqs_comparison *c, int route)
{
	struct estimates *estimates = rqs_zalloc(c->sides, sizeof(*estimates));

	for (unsigned i = 0; i < c->sides; i++)
		estimate_side(c, i, route, &estimates[i]);
	return estimates;
}

/* ---- values ---- */

/* A side's values, one a run, those that there are. To be freed. */
static double *run_values(const struct rqs_comparison *c, const struct rqs_side *side, enum rqs_figure figure,
			  int route, unsigned *count)
{
	double *values = rqs_zalloc(side->runs, sizeof(*values));

	*count = 0;
	for (unsigned i = 0; i < side->runs; i++) {
		const struct rqs_result *r = &c->traces.trace[side->first + i].result;
		const struct rqs_cell *cell = rqs_route_cell(r, route);
		double value = cell && cell->requests ? rqs_figure_value(figure, r, cell) : NAN;

		if (!isnan(value))
			values[(*count)++] = value;
	}
	return values;
}

static struct rqs_row_side value_of(const struct rqs_comparison *c, const struct rqs_side *side, enum rqs_figure figure,
				    int route, const struct rqs_estimate *estimate)
{
	const struct rqs_cell *cell = rqs_route_cell(&side->result, route);
	struct rqs_row_side v = {.value = cell ? rqs_figure_value(figure, &side->result, cell) : NAN,
				 .why = estimate->why,
				 .low = NAN,
				 .high = NAN};

	if (isnan(v.value))
		v.why = RQS_NO_VALUES;
	if (v.why == RQS_INTERVAL) {
		v.low = estimate->low;
		v.high = estimate->high;
	}
	free(run_values(c, side, figure, route, &v.runs));
	return v;
}

/* ---- differences ---- */

static const struct rqs_difference no_difference = {
    .estimate = NAN, .low = NAN, .high = NAN, .p = NAN, .adjusted = NAN, .se = NAN, .detectable = NAN};

static bool all_positive(const double *value, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!(value[i] > 0))
			return false;
	return true;
}

static void take_logs(double *value, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		value[i] = log(value[i]);
}

/* Logarithms closer than this can't be told apart: a bucket's width. */
static double resolution_of(enum rqs_figure figure, bool ratio)
{
	struct rqs_statistic statistic;
	double scale;

	return ratio && rqs_figure_statistic(figure, &statistic, &scale) && statistic.kind == RQS_STATISTIC_QUANTILE
		   ? M_LN2 / RQS_BUCKETS_PER_OCTAVE
		   : 0;
}

/* Both sides have at least two values, which are changed. */
static void compare_runs(struct rqs_difference *d, double *base, unsigned n, double *new, unsigned m,
			 enum rqs_figure figure, double threshold)
{
	d->ratio = d->ratio && all_positive(base, n) && all_positive(new, m);
	if (d->ratio) {
		take_logs(base, n);
		take_logs(new, m);
	}
	struct rqs_welch w = rqs_welch(base, n, new, m, resolution_of(figure, d->ratio));

	d->basis = RQS_BASIS_BETWEEN_RUNS;
	d->estimate = d->ratio ? exp(w.difference) : w.difference;
	d->low = d->ratio ? exp(w.low) : w.low;
	d->high = d->ratio ? exp(w.high) : w.high;
	d->p = rqs_permutation_p(base, n, new, m);
	d->se = w.se;
	d->df = w.df;
	d->resolution = resolution_of(figure, d->ratio);
	d->detectable = rqs_detectable(w.se, w.df);
	if (d->ratio) {
		d->detectable = expm1(d->detectable);
		d->runs_needed = rqs_runs_needed(log1p(threshold > 0 ? threshold : RQS_WANTED_CHANGE),
						 rqs_numbers_variance(base, n), rqs_numbers_variance(new, m));
	}
}

static void compare_segments(struct rqs_difference *d, const struct rqs_estimate *base, const struct rqs_estimate *new)
{
	struct rqs_contrast contrast;

	if (d->ratio) {
		rqs_bootstrap_ratio(base, new, &contrast);
		d->ratio = contrast.why != RQS_ZERO;
	}
	if (!d->ratio)
		rqs_bootstrap_difference(base, new, &contrast);
	if (contrast.why != RQS_INTERVAL)
		return;
	d->basis = RQS_BASIS_WITHIN_RUNS;
	d->estimate = contrast.value;
	d->low = contrast.low;
	d->high = contrast.high;
	d->p = contrast.p;
	d->se = contrast.se;
	d->df = contrast.df;
	d->resolution = d->ratio ? log1p(base->resolution) : 0;
	d->detectable = rqs_detectable(contrast.se, contrast.df);
	if (d->ratio)
		d->detectable = expm1(d->detectable);
}

/* Between runs a tail needs less, as nothing is concluded from how it varies within them. */
static bool lacks_tail(const struct rqs_estimate *e, bool several_runs)
{
	return e->why == RQS_FEW_BEYOND || e->why == RQS_FEW_SEGMENTS || (e->why == RQS_THIN_TAIL && !several_runs);
}

static struct rqs_difference differ(const struct rqs_comparison *c, enum rqs_figure figure, int route, unsigned side,
				    bool ratio, const struct estimates *estimates, double threshold)
{
	const struct rqs_estimate *one = &estimates[0].of[figure], *other = &estimates[side].of[figure];
	struct rqs_difference d = no_difference;
	unsigned n, m;
	double *base = run_values(c, &c->side[0], figure, route, &n);
	double *new = run_values(c, &c->side[side], figure, route, &m);

	d.ratio = ratio;
	bool several = n >= 2 && m >= 2;

	d.unresolved = n && m && rqs_figure_is_tail(figure) && (lacks_tail(one, several) || lacks_tail(other, several));
	if (several)
		compare_runs(&d, base, n, new, m, figure, threshold);
	else if (n && m && one->why != RQS_NO_VALUES && other->why != RQS_NO_VALUES)
		compare_segments(&d, one, other);
	d.adjusted = d.p;
	free(base);
	free(new);
	return d;
}

struct rqs_difference rqs_row_difference(const struct rqs_comparison *c, enum rqs_figure figure, int route, unsigned i,
					 bool ratio)
{
	struct estimates *estimates = rqs_zalloc(c->sides, sizeof(*estimates));

	estimate_side(c, 0, route, &estimates[0]);
	estimate_side(c, i, route, &estimates[i]);
	struct rqs_difference d = differ(c, figure, route, i, ratio, estimates, RQS_WANTED_CHANGE);

	free_estimates(estimates, c->sides);
	return d;
}

/* ---- rows ---- */

static void add_row(struct rqs_rows *rows, const struct rqs_comparison *c, enum rqs_figure figure, int route,
		    const struct estimates *estimates, double threshold)
{
	struct rqs_row row = {figure, route, rqs_zalloc(c->sides, sizeof(*row.side)),
			      rqs_zalloc(c->sides, sizeof(*row.difference))};
	bool known = false;

	for (unsigned i = 0; i < c->sides; i++) {
		row.side[i] = value_of(c, &c->side[i], figure, route, &estimates[i].of[figure]);
		known |= !isnan(row.side[i].value);
	}
	if (!known) {
		free(row.side);
		free(row.difference);
		return;
	}
	row.difference[0] = no_difference;
	for (unsigned i = 1; i < c->sides; i++)
		row.difference[i] = differ(c, figure, route, i, true, estimates, threshold);
	rows->row = rqs_grow(rows->row, rows->count + 1, sizeof(*rows->row));
	rows->row[rows->count++] = row;
}

static void add_route(struct rqs_rows *rows, const struct rqs_comparison *c, int route, double threshold)
{
	struct estimates *estimates = estimate_all(c, route);

	for (unsigned f = 0; f < RQS_FIGURE_COUNT_OF; f++)
		if (route == RQS_WHOLE || rqs_figures[f].scope == RQS_SCOPE_ROUTE)
			add_row(rows, c, f, route, estimates, threshold);
	free_estimates(estimates, c->sides);
}

/* However sure it is: nobody looks for a tenth of a per cent. */
static bool is_negligible(const struct rqs_difference *d)
{
	return d->ratio && !d->unresolved && d->basis != RQS_BASIS_NONE && d->low > 1 - NEGLIGIBLE &&
	       d->high < 1 + NEGLIGIBLE;
}

static void judge(struct rqs_rows *rows, const struct rqs_compare_options *options)
{
	for (unsigned r = 0; r < rows->count; r++)
		for (unsigned i = 1; i < rows->sides; i++) {
			struct rqs_difference *d = &rows->row[r].difference[i];
			double base = rows->row[r].side[0].value;

			if (is_negligible(d)) {
				d->verdict =
				    rqs_figures[rows->row[r].figure].better ? RQS_VERDICT_OK : RQS_VERDICT_NONE;
				continue;
			}
			d->verdict = rqs_verdict_of(d, (int)rqs_figures[rows->row[r].figure].better,
						    options->threshold * (d->ratio ? 1 : base), options->strict);
		}
}

struct rqs_rows rqs_rows_make(const struct rqs_comparison *c, const struct rqs_compare_options *options)
{
	struct rqs_rows rows = {.sides = c->sides};
	int *routes = rqs_comparison_rows(c);

	add_route(&rows, c, RQS_WHOLE, options->threshold);
	for (const int *route = routes; *route >= 0; route++)
		add_route(&rows, c, *route, options->threshold);
	free(routes);
	rqs_rows_adjust(&rows);
	judge(&rows, options);
	return rows;
}

const struct rqs_row *rqs_rows_find(const struct rqs_rows *rows, enum rqs_figure figure, int route)
{
	for (unsigned r = 0; r < rows->count; r++)
		if (rows->row[r].figure == figure && rows->row[r].route == route)
			return &rows->row[r];
	return NULL;
}

enum rqs_verdict rqs_row_verdict(const struct rqs_rows *rows, const struct rqs_row *row)
{
	enum rqs_verdict worst = RQS_VERDICT_NONE;

	for (unsigned i = 1; i < rows->sides; i++)
		if (row->difference[i].verdict > worst)
			worst = row->difference[i].verdict;
	return worst;
}

char *rqs_difference_text(enum rqs_figure figure, const struct rqs_difference *d)
{
	if (d->basis == RQS_BASIS_NONE)
		return rqs_format("%s", "");
	if (d->ratio)
		return rqs_format("%+.1f %% [%+.1f .. %+.1f]", (d->estimate - 1) * 100, (d->low - 1) * 100,
				  (d->high - 1) * 100);
	if (rqs_figures[figure].unit == RQS_FIGURE_PART) /* "+2 %" would be taken for a ratio's */
		return rqs_format("%+.3g pp [%+.3g .. %+.3g]", d->estimate * 100, d->low * 100, d->high * 100);
	char *one = rqs_figure_text(figure, d->estimate), *low = rqs_figure_text(figure, d->low);
	char *high = rqs_figure_text(figure, d->high);
	char *text = rqs_format("%s%s [%s .. %s]", d->estimate > 0 ? "+" : "", one, low, high);
	free(one);
	free(low);
	free(high);
	return text;
}

void rqs_rows_free(struct rqs_rows *rows)
{
	for (unsigned r = 0; r < rows->count; r++) {
		free(rows->row[r].side);
		free(rows->row[r].difference);
	}
	free(rows->row);
	*rows = (struct rqs_rows){0};
}
