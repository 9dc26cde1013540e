/*
 * attribution.h - where a difference of mean latency comes from: the parts
 * that were measured and what is left, which together are the difference.
 */
#ifndef REQSCOPE_ATTRIBUTION_H
#define REQSCOPE_ATTRIBUTION_H

#include "model/breakdown.h"
#include "report/sides.h"

#define RQS_PART_OTHER RQS_PART_COUNT /* what is left of the latency */
#define RQS_PARTS_AND_OTHER (RQS_PART_COUNT + 1)
#define RQS_SLOWEST 0.01 /* the share that is looked at a second time */

/* What the mean latency of one side consists of, s. */
struct rqs_composition {
	double requests; /* 0: none */
	double latency;
	double part[RQS_PARTS_AND_OTHER]; /* they add up to the latency; what wasn't measured is 0 and within other */
	bool measured[RQS_PARTS_AND_OTHER];
};

/* "queue", ..., "other": as in JSON; and for people. */
const char *rqs_part_name(unsigned part);
const char *rqs_part_title(unsigned part);

/* The slowest `share` of a route's requests; RQS_WHOLE: of all requests. */
struct rqs_composition rqs_compose(const struct rqs_result *r, int route, double share);

#endif
