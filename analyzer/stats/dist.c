/* dist.c - falling from exact values to buckets, merging, and quantiles. */
#include "stats/dist.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct rqs_histogram *new_histogram(void)
{
	return rqs_zalloc(1, sizeof(struct rqs_histogram));
}

static void start(struct rqs_dist *d, bool exact)
{
	if (exact)
		d->tally = rqs_tally_new();
	else
		d->histogram = new_histogram();
}

static void fall_to_histogram(struct rqs_dist *d)
{
	d->histogram = new_histogram();
	for (uint32_t i = 0; i <= d->tally->mask; i++)
		if (d->tally->slot[i].count)
			rqs_histogram_add(d->histogram, d->tally->slot[i].value, d->tally->slot[i].count);
	rqs_tally_free(d->tally);
	d->tally = NULL;
}

static void add_times(struct rqs_dist *d, uint64_t v, uint64_t times)
{
	if (d->tally) {
		if (rqs_tally_add(d->tally, v, times))
			return;
		fall_to_histogram(d);
	}
	rqs_histogram_add(d->histogram, v, times);
}

/* The loop of both, in which `store` is known when it is compiled. */
static inline __attribute__((always_inline)) void add(struct rqs_dist *d, const uint64_t *value, const uint16_t *index,
						      uint32_t n, bool store)
{
	uint64_t count = 0, min = d->count ? d->min : UINT64_MAX, max = d->count ? d->max : 0;
	unsigned __int128 sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t v = value[index[i]];

		if (v == RQS_DIST_SKIP)
			continue;
		count++;
		sum += v;
		min = v < min ? v : min;
		max = v > max ? v : max;
		if (!store)
			continue;
		if (d->histogram)
			rqs_histogram_add(d->histogram, v, 1);
		else if (!rqs_tally_hit(d->tally, v))
			add_times(d, v, 1);
	}
	d->count += count;
	d->sum += sum;
	d->min = min;
	d->max = max;
}

void rqs_dist_add(struct rqs_dist *d, const uint64_t *value, const uint16_t *index, uint32_t n, bool exact)
{
	if (!d->histogram && !d->tally)
		start(d, exact);
	add(d, value, index, n, true);
}

void rqs_dist_add_sums(struct rqs_dist *d, const uint64_t *value, const uint16_t *index, uint32_t n)
{
	add(d, value, index, n, false);
}

void rqs_dist_merge(struct rqs_dist *into, const struct rqs_dist *from)
{
	if (!from->count)
		return;
	if (!into->count) {
		into->min = from->min;
		into->max = from->max;
	}
	into->count += from->count;
	into->sum += from->sum;
	if (from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	if (!from->histogram && !from->tally)
		return;
	if (!into->histogram && !into->tally)
		start(into, from->tally);
	if (from->histogram) {
		if (into->tally)
			fall_to_histogram(into);
		rqs_histogram_merge(into->histogram, from->histogram);
		return;
	}
	for (uint32_t i = 0; i <= from->tally->mask; i++)
		if (from->tally->slot[i].count)
			add_times(into, from->tally->slot[i].value, from->tally->slot[i].count);
}

void rqs_dist_free(struct rqs_dist *d)
{
	rqs_tally_free(d->tally);
	rqs_histogram_free(d->histogram);
	free(d->thin);
	memset(d, 0, sizeof(*d));
}

static double kept_quantile(const struct rqs_summary *s, uint32_t wanted)
{
#define IF_IT(name, q)                                                                                                 \
	if (wanted == (q))                                                                                             \
		return s->name;
	RQS_QUANTILES(IF_IT)
#undef IF_IT
	return NAN;
}

double rqs_dist_quantile(const struct rqs_dist *d, uint32_t q)
{
	if (d->thin)
		return kept_quantile(d->thin, q);
	uint64_t rank = (uint64_t)(((unsigned __int128)d->count * q + 99999) / 100000);

	if (!rank)
		rank = 1;
	if (d->tally)
		return (double)rqs_tally_rank(d->tally, rank);
	double v = rqs_histogram_rank(d->histogram, rank);
	if (v < (double)d->min)
		return (double)d->min;
	return v > (double)d->max ? (double)d->max : v;
}

struct rqs_summary rqs_dist_summary(const struct rqs_dist *d)
{
	struct rqs_summary s = {.count = d->count};

	if (!d->count)
		return s;
	s.mean = (double)d->sum / (double)d->count;
	s.min = (double)d->min;
	s.max = (double)d->max;
#define FILL(name, q) s.name = rqs_dist_quantile(d, q);
	RQS_QUANTILES(FILL)
#undef FILL
	return s;
}

void rqs_dist_thin(struct rqs_dist *d)
{
	if (d->thin || !d->count)
		return;
	struct rqs_summary *kept = rqs_zalloc(1, sizeof(*kept));

	*kept = rqs_dist_summary(d);
	rqs_tally_free(d->tally);
	rqs_histogram_free(d->histogram);
	d->tally = NULL;
	d->histogram = NULL;
	d->thin = kept;
}
