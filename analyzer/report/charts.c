/* charts.c - latencies by percentile, differences by quantile, parts of time and memory, and the course of a run. */
#include "report/charts.h"
#include "report/attribution.h"
#include "stats/bootstrap.h"
#include "stats/shift.h"

#include <math.h>
#include <string.h>

#define SAMPLE_PERIOD_NS 100000000ull /* the collector's, 10 Hz */

/* ---- latency by percentile ---- */

/* In 1/100,000. */
static const uint32_t quantiles[] = {1000,  5000,  10000, 20000, 30000, 40000, 50000, 60000, 70000, 80000,
				     85000, 90000, 95000, 97500, 99000, 99500, 99900, 99950, 99990};
#define QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))

/* A quantile is shown as long as there are values beyond it. */
static bool has_quantile(const struct rqs_dist *d, uint32_t q)
{
	return (double)d->count * (100000 - q) >= 100000;
}

static void add_quantiles(struct rqs_chart *chart, const struct rqs_chart_side *side, unsigned index)
{
	const struct rqs_dist *latency = &side->result->all.metric[RQS_METRIC_LATENCY];
	struct rqs_statistic statistic[QUANTILES];
	struct rqs_estimate estimate[QUANTILES];
	struct rqs_series *s = rqs_chart_series(chart, side->name, index);

	memset(estimate, 0, sizeof(estimate));
	for (unsigned i = 0; i < QUANTILES; i++)
		statistic[i] = (struct rqs_statistic){RQS_STATISTIC_QUANTILE, quantiles[i]};
	rqs_bootstrap(&side->segments, statistic, QUANTILES, index, estimate);
	for (unsigned i = 0; i < QUANTILES && latency->count && has_quantile(latency, quantiles[i]); i++) {
		bool known = estimate[i].why == RQS_INTERVAL;

		rqs_series_band_point(s, quantiles[i] / 1e5, rqs_dist_quantile(latency, quantiles[i]) / 1e9,
				      known ? estimate[i].low / 1e9 : NAN, known ? estimate[i].high / 1e9 : NAN);
	}
}

static void add_percentiles(struct rqs_doc *d, const struct rqs_chart_side *side, unsigned sides)
{
	struct rqs_chart *chart =
	    rqs_chart_new(RQS_CHART_LINES, "Latency by percentile",
			  "To the right the slowest requests. A band holds the true value in 95 % of cases, as far as "
			  "these runs tell.");

	chart->detail = true;
	rqs_chart_x(chart, "percentile", RQS_AXIS_PART, RQS_AXIS_TAIL);
	rqs_chart_y(chart, "latency", RQS_AXIS_SECONDS, RQS_AXIS_LOG);
	for (unsigned i = 0; i < sides; i++)
		add_quantiles(chart, &side[i], i);
	rqs_doc_chart(d, chart);
}

/* ---- how the whole distribution differs ---- */

static void add_shift(struct rqs_doc *d, const struct rqs_chart_side *side, unsigned sides)
{
	struct rqs_chart *chart = rqs_chart_new(
	    RQS_CHART_LINES, "Change of each quantile",
	    "Below 0 % the quantile is faster than the base's. The band holds all of them at once in 95 % "
	    "of cases, as far as these runs tell.");

	chart->detail = true;
	rqs_chart_x(chart, "quantile", RQS_AXIS_PART, RQS_AXIS_TAIL);
	rqs_chart_y(chart, "change", RQS_AXIS_PART, RQS_AXIS_LINEAR);
	rqs_chart_reference(chart, 0);
	for (unsigned i = 1; i < sides; i++) {
		struct rqs_series *s = rqs_chart_series(chart, side[i].name, i);
		struct rqs_shift shift;

		rqs_shift(&side[0].segments, &side[i].segments, &shift);
		for (unsigned k = 0; k < RQS_SHIFT_POINTS; k++) {
			const struct rqs_shift_point *p = &shift.point[k];
			bool known = p->why == RQS_INTERVAL;

			if (p->why != RQS_NO_VALUES && p->why != RQS_ZERO)
				rqs_series_band_point(s, p->q / 1e5, p->new / p->base - 1, known ? p->low - 1 : NAN,
						      known ? p->high - 1 : NAN);
		}
	}
	rqs_doc_chart(d, chart);
}

/* ---- parts ---- */

static void add_time_parts(struct rqs_doc *d, const struct rqs_chart_side *side, unsigned sides)
{
	struct rqs_chart *chart = rqs_chart_new(RQS_CHART_STACK, "Where the time of a request goes",
						"Means. \"other\" is what was not measured.");

	rqs_chart_y(chart, "time", RQS_AXIS_SECONDS, RQS_AXIS_LINEAR);
	for (unsigned i = 0; i < sides; i++)
		rqs_chart_category(chart, side[i].name);
	for (unsigned p = 0; p < RQS_PARTS_AND_OTHER; p++) {
		struct rqs_series *s = rqs_chart_series(chart, rqs_part_title(p), p);

		for (unsigned i = 0; i < sides; i++) {
			struct rqs_composition all = rqs_compose(side[i].result, RQS_WHOLE, 1);

			rqs_series_point(s, i, all.measured[p] ? all.part[p] : NAN);
		}
	}
	rqs_doc_chart(d, chart);
}

static double mean_bytes(const struct rqs_result *r, enum rqs_metric m)
{
	const struct rqs_dist *bytes = &r->all.metric[m];

	return bytes->count ? (double)bytes->sum / (double)bytes->count : NAN;
}

static void add_memory_parts(struct rqs_doc *d, const struct rqs_chart_side *side, unsigned sides)
{
	static const char *const names[] = {"for the request", "receive buffers", "after the response", "unattributed"};
	struct rqs_chart *chart;
	bool any = false;

	for (unsigned i = 0; i < sides; i++)
		any |= side[i].result->all.metric[RQS_METRIC_ALLOC_BYTES].count > 0;
	if (!any)
		return;
	chart = rqs_chart_new(RQS_CHART_STACK, "Memory allocated a request", "Means over all requests.");
	rqs_chart_y(chart, "bytes", RQS_AXIS_BYTES, RQS_AXIS_LINEAR);
	for (unsigned i = 0; i < sides; i++)
		rqs_chart_category(chart, side[i].name);
	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		struct rqs_series *s = rqs_chart_series(chart, names[k], k);

		for (unsigned i = 0; i < sides; i++) {
			const struct rqs_result *r = side[i].result;
			const double value[] = {
			    mean_bytes(r, RQS_METRIC_ALLOC_BYTES), mean_bytes(r, RQS_METRIC_RECV_BUFFER_BYTES),
			    rqs_alloc_per_request(r, &r->after_response), rqs_alloc_per_request(r, &r->unattributed)};

			rqs_series_point(s, i, value[k]);
		}
	}
	rqs_doc_chart(d, chart);
}

/* ---- the course of a run ---- */

/* The middle of slice i, s since the first request. */
static double slice_time(const struct rqs_grid *g, unsigned i)
{
	return ((double)i + 0.5) * (double)g->length / 1e9;
}

typedef double (*slice_value)(const struct rqs_result *r, unsigned i);

static double throughput_of(const struct rqs_result *r, unsigned i)
{
	const struct rqs_segments *s = &r->all.slices.segments;

	return i < s->count ? (double)s->segment[i].requests / s->segment[i].seconds : NAN;
}

/* A slice's quantile; its latencies are packed. q in 1/100,000. */
static double slice_quantile(const struct rqs_result *r, unsigned i, uint32_t q)
{
	const struct rqs_segment *s = i < r->all.slices.segments.count ? &r->all.slices.segments.segment[i] : NULL;
	uint64_t count = 0, seen = 0;

	for (uint32_t b = 0; s && b < s->buckets; b++)
		count += s->bucket_count[b].count;
	uint64_t rank = (uint64_t)ceil((double)count * q / 1e5);
	for (uint32_t b = 0; s && b < s->buckets; b++) {
		seen += s->bucket_count[b].count;
		if (seen >= rank && count)
			return rqs_segment_bucket_value(s->bucket_count[b].bucket) / 1e9;
	}
	return NAN;
}

static double p50_of(const struct rqs_result *r, unsigned i)
{
	return slice_quantile(r, i, 50000);
}

static double p99_of(const struct rqs_result *r, unsigned i)
{
	return slice_quantile(r, i, 99000);
}

/* Slices shorter than the sampler's period have no sweep each: then what there was just before stands. */
static double gauge_of(const struct rqs_result *r, enum rqs_gauge gauge, unsigned i)
{
	const struct rqs_timeline_gauge *g = r->timeline.gauge[gauge];
	uint64_t back = SAMPLE_PERIOD_NS / r->timeline.grid.length + 1;

	if (!g || i >= r->timeline.grid.count)
		return NAN;
	for (; !g[i].sweeps && i && back; back--)
		i--;
	return g[i].sweeps ? g[i].sum / (double)g[i].sweeps : NAN;
}

static double rss_of(const struct rqs_result *r, unsigned i)
{
	return gauge_of(r, RQS_GAUGE_RSS, i);
}

static double heap_of(const struct rqs_result *r, unsigned i)
{
	return gauge_of(r, RQS_GAUGE_HEAP_IN_USE, i);
}

static double collections_of(const struct rqs_result *r, unsigned i)
{
	const struct rqs_timeline *t = &r->timeline;

	return t->counted[RQS_COUNTERS_GC][0] && i < t->grid.count
		   ? t->counter[RQS_COUNTERS_GC][0][i] / ((double)t->grid.length / 1e9)
		   : NAN;
}

static const struct course {
	const char *title, *axis;
	enum rqs_axis_unit unit;
	slice_value value;
} courses[] = {
    {"Throughput over time", "requests/s", RQS_AXIS_RATE, throughput_of},
    {"p50 over time", "latency", RQS_AXIS_SECONDS, p50_of},
    {"p99 over time", "latency", RQS_AXIS_SECONDS, p99_of},
    {"Memory (RSS) over time", "bytes", RQS_AXIS_BYTES, rss_of},
    {"Heap in use over time", "bytes", RQS_AXIS_BYTES, heap_of},
    {"Garbage collections over time", "collections/s", RQS_AXIS_RATE, collections_of},
};

static bool add_course_series(struct rqs_chart *chart, const struct rqs_chart_side *side, unsigned index,
			      slice_value value)
{
	const struct rqs_grid *grid = &side->run->grid;
	struct rqs_series *s = rqs_chart_series(chart, side->name, index);
	bool known = false;

	for (unsigned i = 0; i < grid->count; i++) {
		double y = value(side->run, i);

		known |= !isnan(y);
		rqs_series_point(s, slice_time(grid, i), y);
	}
	return known;
}

static void add_course(struct rqs_doc *d, const struct rqs_chart_side *side, unsigned sides,
		       const struct course *course)
{
	bool several = false, known = false;

	for (unsigned i = 0; i < sides; i++)
		several |= side[i].result->runs > 1;
	struct rqs_chart *chart =
	    rqs_chart_new(RQS_CHART_LINES, course->title, several ? "Of each side's first run." : NULL);

	rqs_chart_x(chart, "since the first request", RQS_AXIS_SECONDS, RQS_AXIS_LINEAR);
	rqs_chart_y(chart, course->axis, course->unit, RQS_AXIS_LINEAR);
	for (unsigned i = 0; i < sides; i++)
		known |= add_course_series(chart, &side[i], i, course->value);
	if (known)
		rqs_doc_chart(d, chart);
	else
		rqs_chart_free(chart);
}

void rqs_doc_add_charts(struct rqs_doc *d, const struct rqs_chart_side *side, unsigned sides)
{
	add_percentiles(d, side, sides);
	if (sides > 1)
		add_shift(d, side, sides);
	add_time_parts(d, side, sides);
	add_memory_parts(d, side, sides);
	for (unsigned i = 0; i < sizeof(courses) / sizeof(courses[0]); i++)
		add_course(d, side, sides, &courses[i]);
}
