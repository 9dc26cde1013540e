/*
 * buckets.h - the buckets of a base-2 exponential histogram of scale 8.
 *
 * 256 buckets an octave, 0.27 % wide: bucket k holds the values v with
 *   2^((k - 1) / 256) < v <= 2^(k / 256),
 * which is the layout of OpenTelemetry's ExponentialHistogram (its index is
 * k - 1) and of Prometheus' native histograms. Zero has a bucket of its own.
 */
#ifndef REQSCOPE_BUCKETS_H
#define REQSCOPE_BUCKETS_H

#include <stdint.h>

#define RQS_BUCKETS_PER_OCTAVE 256
#define RQS_BUCKET_LIMIT (64 * RQS_BUCKETS_PER_OCTAVE + 1) /* k of a uint64_t stays below */

/*
 * A cell is one of the 512 equal parts of an octave. It is narrower than any
 * bucket, so it has at most one bound inside: `bound` is the first one at or
 * above the cell's start, `below` how many bounds lie before it.
 */
struct rqs_bucket_cell {
	uint64_t bound;
	uint64_t below;
};

extern struct rqs_bucket_cell rqs_bucket_cells[512];

/* The bucket of v >= 1: exact, no floating point. */
static inline unsigned rqs_bucket_of(uint64_t v)
{
	unsigned zeros = (unsigned)__builtin_clzll(v);
	uint64_t mantissa = v << zeros;
	const struct rqs_bucket_cell *cell = &rqs_bucket_cells[(mantissa >> 54) & 511];

	return (63 - zeros) * RQS_BUCKETS_PER_OCTAVE + (unsigned)cell->below + (mantissa > cell->bound);
}

/* The upper bound of bucket k. */
double rqs_bucket_upper(unsigned k);
/* The arithmetic middle of bucket k. */
double rqs_bucket_middle(unsigned k);

#endif
