/*
 * segments.h - a run cut into equal times, as the bootstrap within a run takes it.
 *
 * Requests of one server depend on each other: a slow one delays those behind it. Stretches of time much longer than
 * such a delay are nearly independent, so it is they that are resampled (the block bootstrap of Carlstein, "The use of
 * subseries values for estimating the variance of a general statistic", Annals of Statistics 14(3), 1986).
 *
 * A request belongs to one segment only, by any one instant of it. A loader fills the struct, rqs_segments_free frees
 * what it points to.
 */
#ifndef REQSCOPE_SEGMENTS_H
#define REQSCOPE_SEGMENTS_H

#include "stats/histogram.h"

#include <stdint.h>

#define RQS_SEGMENTS_OF_RUN 64 /* at most; of at least one second each */

/* Bucket 0 is for zeros, bucket k + 1 is buckets.h's bucket k. */
struct rqs_bucket_count {
	uint64_t bucket : 16;
	uint64_t count : 48;
};

/* One further metric: the sum of its values, and how many have one. */
struct rqs_segment_sum {
	double sum;
	uint64_t count;
};

struct rqs_segment {
	double seconds;            /* its length; equal in one run */
	uint64_t requests, errors; /* errors are among the requests */
	uint64_t min, max;         /* of the latencies; undefined while there is none */
	uint32_t buckets;
	struct rqs_bucket_count *bucket_count; /* of the latencies; ascending, each bucket once, no count 0 */
	struct rqs_segment_sum *sum;           /* rqs_segments.sums of them */
};

struct rqs_segments {
	unsigned count;
	unsigned sums;
	struct rqs_segment *segment;
};

/* How many segments a run of this length is cut into. */
unsigned rqs_segments_of(double seconds);
/* Allocates count empty segments with room for their sums. */
void rqs_segments_init(struct rqs_segments *s, unsigned count, unsigned sums);
/* Sets the segment's latencies; min and max are of the same values. */
void rqs_segment_pack(struct rqs_segment *s, const struct rqs_histogram *h, uint64_t min, uint64_t max);
/* Copies the segments of several runs, which have the same number of sums, behind each other. */
void rqs_segments_pool(struct rqs_segments *into, const struct rqs_segments *const *run, unsigned runs);
void rqs_segments_free(struct rqs_segments *s);

/* What a value in this bucket is reported as. */
double rqs_segment_bucket_value(unsigned bucket);

#endif
