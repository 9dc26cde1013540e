/*
 * hgrm.c - latencies of all requests as HdrHistogram's percentile lines, which
 * its plotter and others read (HdrHistogram/HdrHistogram,
 * AbstractHistogram.outputPercentileDistribution). Milliseconds.
 *
 * Five lines for each halving of the distance to 100 %, as there. A value is
 * the middle of its bucket, as in the report, which is 0.27 % wide.
 */
#include "export/exporter.h"
#include "base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define TICKS_PER_HALVING 5
#define NS_PER_MS 1e6

struct hgrm {
	const struct rqs_export *what;
};

/* A walk over the buckets, in ascending order. */
struct walk {
	const struct rqs_histogram *histogram;
	double min, max;
	uint64_t total;
	uint64_t seen;    /* in the buckets so far */
	double deviation; /* sum of the squares around the mean */
	double mean;
	double level; /* the percentile that the next line is for */
	FILE *out;
};

static void *start_hgrm(const struct rqs_export *what)
{
	struct hgrm *h = rqs_zalloc(1, sizeof(*h));

	h->what = what;
	return h;
}

static void put_line(const struct walk *w, double value)
{
	fprintf(w->out, "%12.6f %.12f %10" PRIu64, value / NS_PER_MS, w->level / 100, w->seen);
	if (w->level < 100)
		fprintf(w->out, " %14.2f", 1 / (1 - w->level / 100));
	fputc('\n', w->out);
}

static void next_level(struct walk *w)
{
	double halvings = floor(log2(100 / (100 - w->level))) + 1;

	w->level += 100 / (TICKS_PER_HALVING * exp2(halvings));
}

static void take_bucket(struct walk *w, double middle, uint64_t count)
{
	double value = fmin(fmax(middle, w->min), w->max);

	if (!count)
		return;
	w->seen += count;
	w->deviation += (value - w->mean) * (value - w->mean) * (double)count;
	if (w->seen == w->total) { /* its line is the one of 100 % */
		w->level = 100;
		put_line(w, w->max);
		return;
	}
	while (100 * (double)w->seen / (double)w->total >= w->level) {
		put_line(w, value);
		next_level(w);
	}
}

static void walk_buckets(struct walk *w)
{
	take_bucket(w, 0, w->histogram->zeros);
	for (unsigned p = 0; p < RQS_HISTOGRAM_PAGES; p++)
		for (unsigned i = 0; w->histogram->page[p] && i < RQS_BUCKETS_PER_OCTAVE; i++)
			take_bucket(w, rqs_bucket_middle(p * RQS_BUCKETS_PER_OCTAVE + i), w->histogram->page[p][i]);
}

/* All traces' latencies. */
static struct rqs_dist unite(const struct rqs_export *what)
{
	struct rqs_dist sum = {0};

	for (unsigned t = 0; t < what->traces->count; t++) {
		const struct rqs_result *r = &what->traces->trace[t].result;

		for (unsigned row = 0; row < r->cells; row++)
			if (r->cell[row] && rqs_export_has_route(what, row))
				rqs_dist_merge(&sum, &r->cell[row]->metric[RQS_METRIC_LATENCY]);
	}
	return sum;
}

static void finish_hgrm(void *state)
{
	const struct hgrm *h = state;
	FILE *out = h->what->out;
	struct rqs_dist d = unite(h->what);
	struct walk w = {.histogram = d.histogram, .total = d.count, .out = out};

	fputs("       Value     Percentile TotalCount 1/(1-Percentile)\n\n", out);
	if (d.count) {
		w.mean = (double)d.sum / (double)d.count;
		w.min = (double)d.min;
		w.max = (double)d.max;
		walk_buckets(&w);
	}
	fprintf(out, "#[Mean    = %12.6f, StdDeviation   = %12.6f]\n", w.mean / NS_PER_MS,
		d.count ? sqrt(w.deviation / (double)d.count) / NS_PER_MS : 0);
	fprintf(out, "#[Max     = %12.6f, Total count    = %12" PRIu64 "]\n", w.max / NS_PER_MS, d.count);
	fprintf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n", RQS_HISTOGRAM_PAGES, RQS_BUCKETS_PER_OCTAVE);
	rqs_dist_free(&d);
}

const struct rqs_exporter rqs_exporter_hgrm = {
    .name = "hgrm",
    .start = start_hgrm,
    .finish = finish_hgrm,
    .free = free,
};
