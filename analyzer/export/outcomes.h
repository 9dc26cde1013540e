/*
 * outcomes.h - counts and latencies by trace, route, status and whether the
 * request was aborted: what OpenTelemetry's attributes of a request tell
 * apart.
 *
 * Latencies are here in units of 2^-40 s, because OpenTelemetry and
 * Prometheus have them in seconds, and the bounds of an exponential
 * histogram are powers of two of its unit.
 */
#ifndef REQSCOPE_OUTCOMES_H
#define REQSCOPE_OUTCOMES_H

#include "export/exporter.h"

#define RQS_SECOND_BITS 40

/*
 * X(text): upper bounds of classic buckets in s. OpenTelemetry's for the
 * duration of HTTP requests, continued below for servers that answer sooner.
 */
#define RQS_LATENCY_BOUNDS(X)                                                                                          \
	X(0.0001)                                                                                                      \
	X(0.00025) X(0.0005) X(0.001) X(0.0025) X(0.005) X(0.01) X(0.025) X(0.05) X(0.075) X(0.1) X(0.25) X(0.5)       \
	    X(0.75) X(1.0) X(2.5) X(5.0) X(7.5) X(10.0)

enum {
#define RQS_ONE(text) +1
	RQS_LATENCY_BOUND_COUNT = RQS_LATENCY_BOUNDS(RQS_ONE)
#undef RQS_ONE
};

struct rqs_outcome {
	unsigned trace, row; /* row: of the routes */
	unsigned status;     /* 0: none */
	bool aborted;
	uint64_t requests;
	uint64_t timed;        /* those whose latency is known; the rest is of them */
	unsigned __int128 sum; /* ns */
	uint64_t min, max;     /* ns */
	uint64_t
	    at_most[RQS_LATENCY_BOUND_COUNT + 1]; /* above the bound before, at most this one; the last: above all */
	struct rqs_histogram *histogram;
};

struct rqs_outcomes;

struct rqs_outcomes *rqs_outcomes_new(const struct rqs_export *what);
void rqs_outcomes_free(struct rqs_outcomes *o);
void rqs_outcomes_take(struct rqs_outcomes *o, const struct rqs_chosen *chosen);
unsigned rqs_outcomes_count(const struct rqs_outcomes *o);
/* In the order in which they were met; those of one trace are next to each other. */
const struct rqs_outcome *rqs_outcomes_get(const struct rqs_outcomes *o, unsigned i);
/* The first arrival and the last end of a trace's chosen requests, ns since the epoch; false when it has none. */
bool rqs_outcomes_span(const struct rqs_outcomes *o, unsigned trace, uint64_t *first, uint64_t *last);

/* The bucket of ns > 0 in units of 2^-40 s; what is too long goes to the last one. */
unsigned rqs_seconds_bucket(uint64_t ns);

#endif
