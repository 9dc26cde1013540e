/*
 * histogram.h - counts by bucket. Merging is addition: the merge of parts
 * equals one pass over all, bit for bit, in any order.
 *
 * An octave's counters are a page, made when its first value comes, so that a
 * metric that spans ten octaves takes 20 KiB and not 128.
 */
#ifndef REQSCOPE_HISTOGRAM_H
#define REQSCOPE_HISTOGRAM_H

#include "stats/buckets.h"

#include <stddef.h>
#include <stdint.h>

#define RQS_HISTOGRAM_PAGES (RQS_BUCKET_LIMIT / RQS_BUCKETS_PER_OCTAVE + 1)

struct rqs_histogram {
	uint64_t zeros;
	uint64_t *page[RQS_HISTOGRAM_PAGES];
};

/* Memory that all histograms and tallies hold, for a limit against hostile input. Bytes. */
extern size_t rqs_stats_memory;

void rqs_histogram_make_page(struct rqs_histogram *h, unsigned page);
void rqs_histogram_merge(struct rqs_histogram *into, const struct rqs_histogram *from);
/* The middle of the bucket with the rank-th smallest value, 1 <= rank <= count. */
double rqs_histogram_rank(const struct rqs_histogram *h, uint64_t rank);
void rqs_histogram_free(struct rqs_histogram *h); /* and the struct itself */

/* To bucket k, which is not zero's. */
static inline void rqs_histogram_add_to(struct rqs_histogram *h, unsigned k, uint64_t times)
{
	unsigned page = k / RQS_BUCKETS_PER_OCTAVE;

	if (__builtin_expect(!h->page[page], 0))
		rqs_histogram_make_page(h, page);
	h->page[page][k % RQS_BUCKETS_PER_OCTAVE] += times;
}

static inline void rqs_histogram_add(struct rqs_histogram *h, uint64_t v, uint64_t times)
{
	if (v)
		rqs_histogram_add_to(h, rqs_bucket_of(v), times);
	else
		h->zeros += times;
}

/* What bucket k holds. */
static inline uint64_t rqs_histogram_at(const struct rqs_histogram *h, unsigned k)
{
	const uint64_t *page = h->page[k / RQS_BUCKETS_PER_OCTAVE];

	return page ? page[k % RQS_BUCKETS_PER_OCTAVE] : 0;
}

#endif
