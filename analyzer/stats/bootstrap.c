/* bootstrap.c - draws, the figures of a draw, and intervals from sorted replicates. */
#include "stats/bootstrap.h"
#include "stats/random.h"
#include "stats/numbers.h"
#include "stats/student.h"
#include "base/alloc.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TAIL_FROM 90000  /* quantiles from here on need values beyond */
#define LEAST_BEYOND 400 /* that many of them, or some in every segment */
#define BEYOND_PER_DF 3  /* segments with values beyond that count as one degree of freedom */

/* ---- latencies, summed up over buckets ---- */

struct table {
	unsigned segments, buckets;
	uint16_t *bucket;  /* those that any segment has, ascending */
	uint64_t *at_most; /* [place of the bucket x segments + segment]: the segment's values up to this bucket */
	uint64_t min, max;
};

static void table_init(struct table *t, const struct rqs_segments *s)
{
	uint16_t place[RQS_BUCKET_LIMIT + 1] = {0};

	*t = (struct table){.segments = s->count, .min = UINT64_MAX};
	for (unsigned i = 0; i < s->count; i++) {
		const struct rqs_segment *one = &s->segment[i];

		for (uint32_t b = 0; b < one->buckets; b++)
			place[one->bucket_count[b].bucket] = 1;
		if (one->buckets && one->min < t->min)
			t->min = one->min;
		if (one->buckets && one->max > t->max)
			t->max = one->max;
	}
	t->bucket = rqs_zalloc(RQS_BUCKET_LIMIT + 1, sizeof(*t->bucket));
	for (unsigned k = 0; k <= RQS_BUCKET_LIMIT; k++)
		if (place[k]) {
			place[k] = (uint16_t)t->buckets;
			t->bucket[t->buckets++] = (uint16_t)k;
		}
	t->at_most = rqs_zalloc((size_t)t->buckets * t->segments, sizeof(*t->at_most));
	for (unsigned i = 0; i < s->count; i++)
		for (uint32_t b = 0; b < s->segment[i].buckets; b++) {
			struct rqs_bucket_count c = s->segment[i].bucket_count[b];

			t->at_most[(size_t)place[c.bucket] * t->segments + i] = c.count;
		}
	for (size_t i = t->segments; i < (size_t)t->buckets * t->segments; i++)
		t->at_most[i] += t->at_most[i - t->segments];
}

static void table_free(struct table *t)
{
	free(t->bucket);
	free(t->at_most);
}

static uint64_t weighted(const uint64_t *count, const uint32_t *weight, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += count[i] * weight[i];
	return sum;
}

static const uint64_t *row(const struct table *t, unsigned place)
{
	return t->at_most + (size_t)place * t->segments;
}

/* The place of the bucket with the ceil(q n)-th smallest value; t->buckets when there is no value. */
static unsigned quantile_place(const struct table *t, const uint32_t *weight, uint32_t q)
{
	if (!t->buckets)
		return 0;
	uint64_t n = weighted(row(t, t->buckets - 1), weight, t->segments);
	uint64_t rank = (uint64_t)(((unsigned __int128)n * q + 99999) / 100000);
	unsigned low = 0, high = t->buckets - 1;

	if (!n)
		return t->buckets;
	if (!rank)
		rank = 1;
	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (weighted(row(t, middle), weight, t->segments) >= rank)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static double clamped(const struct table *t, double v)
{
	return fmin(fmax(v, (double)t->min), (double)t->max);
}

static uint64_t ranks_beyond(const struct table *t, const uint32_t *ones, uint32_t q)
{
	uint64_t n = t->buckets ? weighted(row(t, t->buckets - 1), ones, t->segments) : 0;

	return n - (uint64_t)(((unsigned __int128)n * q + 99999) / 100000);
}

/*
 * Segments with a value beyond the quantile. Of those that share its bucket, as many count as have ranks beyond its
 * own; each is taken to be in a segment that has none beyond otherwise, if there is one.
 */
static unsigned segments_beyond(const struct table *t, const uint32_t *ones, uint32_t q)
{
	unsigned place = quantile_place(t, ones, q), beyond = 0, tied = 0;
	const uint64_t *all = row(t, t->buckets - 1), *upto = row(t, place), *below = place ? row(t, place - 1) : NULL;
	uint64_t ranks = ranks_beyond(t, ones, q), strictly = 0;

	for (unsigned i = 0; i < t->segments; i++) {
		strictly += all[i] - upto[i];
		if (all[i] > upto[i])
			beyond++;
		else if (upto[i] > (below ? below[i] : 0))
			tied++;
	}
	return beyond + (unsigned)(ranks - strictly < tied ? ranks - strictly : tied);
}

/* ---- figures of a draw ---- */

struct share {
	double part, whole;
};

/* All that a draw's figures are made of. */
struct subject {
	const struct rqs_segments *segments;
	struct table table;
	struct share *share; /* [statistic x segments + segment] */
};

/* The one segment's part in a statistic that is a ratio of sums. */
static struct share share_of(const struct rqs_segment *s, struct rqs_statistic what)
{
	switch (what.kind) {
	case RQS_STATISTIC_MEAN:
		return (struct share){s->sum[what.which].sum, (double)s->sum[what.which].count};
	case RQS_STATISTIC_RATE:
		return (struct share){(double)s->requests, s->seconds};
	case RQS_STATISTIC_ERROR_SHARE:
		return (struct share){(double)s->errors, (double)s->requests};
	case RQS_STATISTIC_QUANTILE:
		break;
	}
	return (struct share){0, s->buckets};
}

static void shares_init(struct subject *subject, const struct rqs_statistic *statistic, unsigned n)
{
	unsigned count = subject->segments->count;

	subject->share = rqs_zalloc((size_t)n * count, sizeof(*subject->share));
	for (unsigned k = 0; k < n; k++)
		for (unsigned i = 0; i < count; i++)
			subject->share[(size_t)k * count + i] = share_of(&subject->segments->segment[i], statistic[k]);
}

/* `share`: the statistic's, of each segment. */
static double figure(const struct subject *subject, const struct share *share, const uint32_t *weight,
		     struct rqs_statistic what)
{
	const struct table *t = &subject->table;
	struct share sum = {0, 0};

	if (what.kind == RQS_STATISTIC_QUANTILE) {
		unsigned place = quantile_place(t, weight, what.which);

		return place < t->buckets ? clamped(t, rqs_segment_bucket_value(t->bucket[place])) : NAN;
	}
	for (unsigned i = 0; i < subject->segments->count; i++) {
		sum.part += weight[i] * share[i].part;
		sum.whole += weight[i] * share[i].whole;
	}
	return sum.whole > 0 ? sum.part / sum.whole : NAN;
}

static unsigned segments_with_values(const struct share *share, unsigned segments)
{
	unsigned n = 0;

	for (unsigned i = 0; i < segments; i++)
		n += share[i].whole > 0;
	return n;
}

/* ---- intervals ---- */

/* By this factor the replicates spread too little. */
static double widening(unsigned segments)
{
	return sqrt(segments / (segments - 1.0));
}

static void expanded_interval(const double *sorted, unsigned n, unsigned segments, double df, double *low, double *high)
{
	double z = rqs_student_quantile(0.975, df) * widening(segments);
	double tail = rqs_student_cdf(-z, INFINITY);

	*low = rqs_numbers_percentile(sorted, n, tail);
	*high = rqs_numbers_percentile(sorted, n, 1 - tail);
}

/* Two-sided p of "the true value is 0", from replicates; those within `tie` of 0 speak for either side. */
static double expanded_p(const double *value, unsigned n, unsigned segments, double df, double tie)
{
	unsigned below = 0, above = 0;

	for (unsigned i = 0; i < n; i++) {
		below += value[i] <= tie;
		above += value[i] >= -tie;
	}
	/* Of the share, one replicate more than seen: it can't be told from 0 with finitely many. */
	double share = ((below < above ? below : above) + 1.0) / (n + 1.0);

	if (share >= 0.5)
		return 1;
	double z = rqs_student_quantile(share, INFINITY) / widening(segments);

	return 2 * rqs_student_cdf(z, df);
}

static void estimate_interval(struct rqs_estimate *e, const struct table *t, const double *replicate, bool quantile)
{
	double sorted[RQS_RESAMPLES];
	unsigned n = rqs_numbers_sort(sorted, replicate, RQS_RESAMPLES);

	expanded_interval(sorted, n, e->segments, e->df, &e->low, &e->high);
	if (quantile) {
		e->low = clamped(t, e->low / (1 + e->resolution / 2));
		e->high = clamped(t, e->high * (1 + e->resolution / 2));
	}
}

/* ---- one side ---- */

static bool is_tail(struct rqs_statistic what)
{
	return what.kind == RQS_STATISTIC_QUANTILE && what.which >= TAIL_FROM;
}

static enum rqs_no_interval missing(const struct rqs_estimate *e, uint64_t values_beyond, unsigned segments_beyond)
{
	if (!e->segments)
		return RQS_NO_VALUES;
	if (e->segments < RQS_LEAST_SEGMENTS)
		return RQS_FEW_SEGMENTS;
	if (segments_beyond < RQS_LEAST_SEGMENTS)
		return RQS_FEW_BEYOND;
	return values_beyond < LEAST_BEYOND && segments_beyond < e->segments ? RQS_THIN_TAIL : RQS_INTERVAL;
}

static void start_estimate(struct rqs_estimate *e, const struct subject *s, const struct share *share,
			   const uint32_t *ones, struct rqs_statistic what)
{
	bool quantile = what.kind == RQS_STATISTIC_QUANTILE;
	uint64_t values = LEAST_BEYOND;

	*e = (struct rqs_estimate){.replicate = e->replicate};
	unsigned beyond = e->segments = segments_with_values(share, s->segments->count);
	e->df = e->segments - 1.0;
	e->resolution = quantile ? rqs_bucket_upper(1) - 1 : 0;
	if (is_tail(what) && e->segments) {
		values = ranks_beyond(&s->table, ones, what.which);
		beyond = segments_beyond(&s->table, ones, what.which);
		e->df = fmin(e->df, fmax(1, (double)beyond / BEYOND_PER_DF - 1));
	}
	e->why = missing(e, values, beyond);
	if (e->why != RQS_NO_VALUES)
		e->estimate = figure(s, share, ones, what);
}

void rqs_bootstrap(const struct rqs_segments *s, const struct rqs_statistic *statistic, unsigned n, unsigned stream,
		   struct rqs_estimate *estimate)
{
	struct subject subject = {.segments = s};
	struct rqs_random random;
	uint32_t *weight = rqs_zalloc(s->count, sizeof(*weight));
	double *replicate = rqs_zalloc((size_t)n * RQS_RESAMPLES, sizeof(*replicate));

	table_init(&subject.table, s);
	shares_init(&subject, statistic, n);
	for (unsigned i = 0; i < s->count; i++)
		weight[i] = 1;
	for (unsigned i = 0; i < n; i++)
		start_estimate(&estimate[i], &subject, subject.share + (size_t)i * s->count, weight, statistic[i]);
	rqs_random_seed(&random, stream);
	for (unsigned r = 0; r < RQS_RESAMPLES; r++) {
		rqs_random_resample(&random, s->count, weight);
		for (unsigned i = 0; i < n; i++)
			if (estimate[i].why == RQS_INTERVAL)
				replicate[(size_t)i * RQS_RESAMPLES + r] =
				    figure(&subject, subject.share + (size_t)i * s->count, weight, statistic[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		const double *own = replicate + (size_t)i * RQS_RESAMPLES;

		if (estimate[i].why != RQS_INTERVAL)
			continue;
		estimate_interval(&estimate[i], &subject.table, own, statistic[i].kind == RQS_STATISTIC_QUANTILE);
		if (estimate[i].replicate)
			memcpy(estimate[i].replicate, own, RQS_RESAMPLES * sizeof(*own));
	}
	table_free(&subject.table);
	free(subject.share);
	free(weight);
	free(replicate);
}

/* ---- two sides ---- */

/* From the replicates of a difference: all but the value itself. */
static void contrast(struct rqs_contrast *c, const double *replicate, unsigned segments, double df, double resolution)
{
	double sorted[RQS_RESAMPLES];
	unsigned n = rqs_numbers_sort(sorted, replicate, RQS_RESAMPLES);

	expanded_interval(sorted, n, segments, df, &c->low, &c->high);
	c->low -= resolution;
	c->high += resolution;
	c->p = expanded_p(sorted, n, segments, df, resolution * (1 + 1e-9));
	c->se = sqrt(rqs_numbers_variance(sorted, n)) * widening(segments);
	if (!isfinite(c->se)) /* some draws had a side of 0 */
		c->se = INFINITY;
	c->df = df;
	c->segments = segments;
}

static unsigned fewer_segments(const struct rqs_estimate *a, const struct rqs_estimate *b)
{
	return a->segments < b->segments ? a->segments : b->segments;
}

void rqs_bootstrap_difference(const struct rqs_estimate *base, const struct rqs_estimate *new, struct rqs_contrast *c)
{
	double replicate[RQS_RESAMPLES];

	*c = (struct rqs_contrast){.why = base->why ? base->why : new->why, .value = new->estimate - base->estimate};
	if (c->why)
		return;
	for (unsigned i = 0; i < RQS_RESAMPLES; i++)
		replicate[i] = new->replicate[i] - base->replicate[i];
	contrast(c, replicate, fewer_segments(base, new), fmin(base->df, new->df), base->resolution * base->estimate);
}

void rqs_bootstrap_ratio(const struct rqs_estimate *base, const struct rqs_estimate *new, struct rqs_contrast *c)
{
	double replicate[RQS_RESAMPLES];
	bool zero = !(base->estimate > 0 && new->estimate > 0);

	*c = (struct rqs_contrast){.why = base->why ? base->why : new->why};
	if (c->why != RQS_NO_VALUES && zero)
		c->why = RQS_ZERO;
	if (!zero)
		c->value = new->estimate / base->estimate;
	if (c->why)
		return;
	for (unsigned i = 0; i < RQS_RESAMPLES; i++)
		replicate[i] = log(new->replicate[i] / base->replicate[i]);
	contrast(c, replicate, fewer_segments(base, new), fmin(base->df, new->df), log1p(base->resolution));
	c->low = exp(c->low);
	c->high = exp(c->high);
}
