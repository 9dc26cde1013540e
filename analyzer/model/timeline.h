/* timeline.h - what the sampler saw over time, by the slices that requests are sorted into, too. */
#ifndef REQSCOPE_TIMELINE_H
#define REQSCOPE_TIMELINE_H

#include "model/slices.h"
#include "model/usage.h"

struct rqs_timeline {
	struct rqs_grid grid; /* count is 0: empty */
	struct rqs_timeline_gauge {
		double sum;
		uint64_t sweeps;    /* 0: not measured in this part */
	} * gauge[RQS_GAUGE_COUNT]; /* grid.count of each */
	bool counted[RQS_COUNTERS_COUNT][2];
	double *counter[RQS_COUNTERS_COUNT][2]; /* what it gained in each; in the counter's unit */
};

void rqs_timeline_start(struct rqs_timeline *t, const struct rqs_grid *grid);
/* What all processes had together in one sweep of the sampler. */
void rqs_timeline_gauge(struct rqs_timeline *t, enum rqs_gauge gauge, uint64_t time, uint64_t value);
/* At the end: reads off the counters. */
void rqs_timeline_finish(struct rqs_timeline *t, const struct rqs_usage *usage);
void rqs_timeline_free(struct rqs_timeline *t);

#endif
