/*
 * usage.h - CPU, memory and the like of a trace's processes, from the 10 Hz
 * samples.
 *
 * Counters only grow, so what a window counted is read off at its edges: of
 * CPU between two samples by interpolation; of rare events from the last
 * sample before it to the first one behind it, as they were read. A process's counters are 0 at its
 * start, which serves for a window that begins before its first sample.
 * Gauges, such as memory, are summed over the processes of one sweep of the
 * sampler.
 *
 * Bounded: when there are too many points of all processes together, every
 * second one is forgotten, edges excepted.
 */
#ifndef REQSCOPE_USAGE_H
#define REQSCOPE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#define RQS_USAGE_POINTS_MAX 200000
/* Samples closer than this, of different processes, are one sweep: of merged hosts, too, whose samplers aren't in step. */
#define RQS_USAGE_SWEEP_NS 95000000ull /* a bit less than the sampler's period */

/* X(symbol, first column, second column): counters that are read together. */
#define RQS_COUNTERS(X)                                                                                                \
	X(CPU, CPU_USER, CPU_SYSTEM)                                                                                   \
	X(GC, GC_CYCLES, GC_PAUSE_TOTAL)

/* X(column) */
#define RQS_GAUGES(X) X(RSS) X(HEAP_IN_USE) X(HEAP_GOAL) X(GOROUTINES)

enum rqs_counters {
#define RQS_COUNTERS_ID(symbol, first, second) RQS_COUNTERS_##symbol,
	RQS_COUNTERS(RQS_COUNTERS_ID)
#undef RQS_COUNTERS_ID
	    RQS_COUNTERS_COUNT,
};

enum rqs_gauge {
#define RQS_GAUGE_ID(column) RQS_GAUGE_##column,
	RQS_GAUGES(RQS_GAUGE_ID) RQS_GAUGE_COUNT,
#undef RQS_GAUGE_ID
};

/* A row of a sample frame. RQS_NULL where something was not measured. */
struct rqs_usage_sample {
	uint64_t time; /* ns */
	uint64_t counter[RQS_COUNTERS_COUNT][2];
	uint64_t gauge[RQS_GAUGE_COUNT];
};

struct rqs_usage_process {
	bool started;
	uint64_t start; /* ns; its counters were 0 then */
	struct rqs_usage_series {
		uint32_t points, allocated;
		struct rqs_usage_point {
			uint64_t time; /* ns */
			uint64_t value[2];
		} * point;
	} series[RQS_COUNTERS_COUNT];
	uint64_t sweep; /* the last one it was in */
};

struct rqs_usage_gauge {
	uint64_t sweeps; /* finished ones that it was measured in */
	unsigned __int128 sum;
	uint64_t peak;
	/* the sweep that is going on */
	bool measured;
	uint64_t now;
};

struct rqs_timeline;

struct rqs_usage {
	uint32_t processes;
	struct rqs_usage_process *process;   /* by the trace's process index */
	uint64_t points, kept;               /* now, and by the last thinning out */
	bool counted[RQS_COUNTERS_COUNT][2]; /* at least one value was there */
	struct rqs_usage_gauge gauge[RQS_GAUGE_COUNT];
	/* the sweep that is going on */
	uint64_t sweep, sweep_start;
	bool sweep_open;
	struct rqs_timeline *timeline; /* told of each sweep, or NULL */
};

/* The process's counters were 0 at `time`. */
void rqs_usage_start(struct rqs_usage *u, uint32_t process, uint64_t time);
/* Called in the order of the trace. */
void rqs_usage_add(struct rqs_usage *u, uint32_t process, const struct rqs_usage_sample *sample);
void rqs_usage_finish(struct rqs_usage *u);
/*
 * What two counters of all processes counted in [from, to] ns, by
 * interpolation; and what they gained from sample to sample around that.
 * Look at u->counted for whether they were measured.
 */
void rqs_usage_counted(const struct rqs_usage *u, enum rqs_counters counters, uint64_t from, uint64_t to,
		       double counted[2]);
void rqs_usage_gained(const struct rqs_usage *u, enum rqs_counters counters, uint64_t from, uint64_t to,
		      double gained[2]);
void rqs_usage_free(struct rqs_usage *u);

#endif
