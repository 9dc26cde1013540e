/*
 * cell.h - what is added up for one route of one trace, or for a whole trace.
 * A zeroed cell is empty. Merging is exact.
 */
#ifndef REQSCOPE_CELL_H
#define REQSCOPE_CELL_H

#include "model/breakdown.h"
#include "model/metrics.h"
#include "model/slices.h"
#include "stats/dist.h"

#define RQS_STATUS_LIMIT 1000 /* statuses stay below; 0: no response head was seen */

struct rqs_cell {
	uint64_t requests;
	uint64_t aborted;
	uint64_t errors;      /* status 5xx, and aborted ones */
	uint64_t from_kernel; /* latencies that begin with the arrival in the kernel */
	uint64_t from_read;   /* ... with the read, because queue is null */
	uint64_t status[RQS_STATUS_LIMIT];
	struct rqs_dist metric[RQS_METRIC_COUNT];
	struct rqs_breakdown breakdown;
	struct rqs_slices slices; /* by time, of one run only; their sums are of the metrics */
};

/* Those whose memory is known: what the others allocated isn't the route's, but nobody's. All, where there are none. */
double rqs_cell_measured_requests(const struct rqs_cell *c);
/* All but the slices, whose times mean something in their own run alone. */
void rqs_cell_merge(struct rqs_cell *into, const struct rqs_cell *from);
/* Keeps of the distributions their summaries, of the parts nothing; the slices stay. It can't be merged any more. */
void rqs_cell_thin(struct rqs_cell *c);
void rqs_cell_free(struct rqs_cell *c); /* the contents, not the struct */

#endif
