/*
 * dist.h - the distribution of one metric: integer count, sum, least and
 * greatest, and either a histogram (times) or, while its distinct values are
 * few, the exact values (bytes, counts).
 *
 * A zeroed struct is an empty distribution. What it reports depends on the
 * multiset of values alone, never on their order or on how parts were merged.
 */
#ifndef REQSCOPE_DIST_H
#define REQSCOPE_DIST_H

#include "stats/histogram.h"
#include "stats/tally.h"

/* X(name, q in 1/100,000): the quantiles that reports have. */
#define RQS_QUANTILES(X)                                                                                               \
	X(p50, 50000)                                                                                                  \
	X(p90, 90000)                                                                                                  \
	X(p99, 99000)                                                                                                  \
	X(p999, 99900)

struct rqs_summary {
	uint64_t count;
	double mean, min, max;
#define RQS_QUANTILE_FIELD(name, q) double name;
	RQS_QUANTILES(RQS_QUANTILE_FIELD)
#undef RQS_QUANTILE_FIELD
};

struct rqs_dist {
	uint64_t count;
	uint64_t min, max;     /* of the values; undefined while count is 0 */
	unsigned __int128 sum; /* 2^64 values of 2^64 each fit */
	struct rqs_histogram *histogram;
	struct rqs_tally *tally;
	struct rqs_summary *thin; /* all that is left of the two once rqs_dist_thin threw them away, or NULL */
};

void rqs_dist_merge(struct rqs_dist *into, const struct rqs_dist *from);
void rqs_dist_free(struct rqs_dist *d);
/* q in 1/100,000; the ceil(q n)-th smallest. The distribution isn't empty. */
double rqs_dist_quantile(const struct rqs_dist *d, uint32_t q);
struct rqs_summary rqs_dist_summary(const struct rqs_dist *d);
/* Keeps the summary and no more: then nothing can be added, nor this merged to another, and other quantiles are NAN. */
void rqs_dist_thin(struct rqs_dist *d);

/*
 * Adds value[index[0 .. n)], leaving out those that are RQS_DIST_SKIP. exact:
 * keep exact values while they are few; the same for all adds to one
 * distribution. Many at a time, because then the sums stay in registers.
 */
#define RQS_DIST_SKIP UINT64_MAX /* the same as RQS_NULL */
void rqs_dist_add(struct rqs_dist *d, const uint64_t *value, const uint16_t *index, uint32_t n, bool exact);
/* The same without a histogram or tally, which is made otherwise: by the end it must have one. */
void rqs_dist_add_sums(struct rqs_dist *d, const uint64_t *value, const uint16_t *index, uint32_t n);

#endif
