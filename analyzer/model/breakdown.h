/*
 * breakdown.h - what latencies consist of, by how long they were: sums of the
 * parts by bucket of the latency, so that the slowest 1 % can be told from the
 * rest. Eight of the histogram's buckets are one here, 2.2 % wide, so that the
 * sums stay in the cache. Merging is exact.
 *
 * What wasn't measured of a request is in none of its parts; what is left of
 * the latency is "other", which is a difference and no measurement.
 */
#ifndef REQSCOPE_BREAKDOWN_H
#define REQSCOPE_BREAKDOWN_H

#include "stats/buckets.h"

#include <stddef.h>
#include <stdint.h>

/* X(symbol, metric, name in JSON, title). They don't overlap, but for CPU time while a response is being sent. */
#define RQS_PARTS(X)                                                                                                   \
	X(QUEUE, QUEUE, queue, "queue")                                                                                \
	X(CPU, CPU_TIME, cpu_time, "on a CPU")                                                                         \
	X(SCHED_WAIT, SCHED_WAIT, sched_wait, "for a CPU")                                                             \
	X(GIL_WAIT, GIL_WAIT, gil_wait, "for the GIL")                                                                 \
	X(DOWNSTREAM, DOWNSTREAM, downstream, "downstream")                                                            \
	X(SEND, SEND, send, "sending")

enum rqs_part {
#define RQS_PART_ID(symbol, ...) RQS_PART_##symbol,
	RQS_PARTS(RQS_PART_ID)
#undef RQS_PART_ID
	    RQS_PART_COUNT,
};

#define RQS_BREAKDOWN_BUCKETS 8 /* of the histogram's, in one */
#define RQS_BREAKDOWN_PER_OCTAVE (RQS_BUCKETS_PER_OCTAVE / RQS_BREAKDOWN_BUCKETS)
#define RQS_BREAKDOWN_PAGES (RQS_BUCKET_LIMIT / RQS_BUCKETS_PER_OCTAVE + 1)

struct rqs_breakdown {
	/* An octave of latencies, made when its first comes. */
	struct rqs_breakdown_page {
		struct rqs_breakdown_sums {
			uint64_t requests;
			uint64_t latency; /* ns */
			uint64_t part[RQS_PART_COUNT];
		} bucket[RQS_BREAKDOWN_PER_OCTAVE];
	} * page[RQS_BREAKDOWN_PAGES];
	uint64_t measured[RQS_PART_COUNT]; /* requests that had the part, of all */
};

/* Means over some requests, ns. */
struct rqs_breakdown_mean {
	double requests;
	double latency;
	double part[RQS_PART_COUNT];
};

/* The parts of many requests: those there are columns of. */
struct rqs_part_columns {
	unsigned count;
	struct rqs_part_column {
		enum rqs_part part;
		const uint64_t *value; /* by row; RQS_NULL: not measured */
	} column[RQS_PART_COUNT];
};

/* The requests row[0 .. n), without those whose latency is RQS_NULL. */
void rqs_breakdown_add(struct rqs_breakdown *b, const uint64_t *latency, const struct rqs_part_columns *parts,
		       const uint16_t *row, uint32_t n);
void rqs_breakdown_merge(struct rqs_breakdown *into, const struct rqs_breakdown *from);
/*
 * Of the slowest `share` of the requests, 1 for all. The bucket at its edge
 * counts in part, as if its requests were all alike. requests is 0 when there
 * is none.
 */
struct rqs_breakdown_mean rqs_breakdown_slowest(const struct rqs_breakdown *b, double share);
void rqs_breakdown_free(struct rqs_breakdown *b); /* the contents, not the struct */

#endif
