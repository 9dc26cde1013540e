/*
 * figures.h - what sides are compared by. One more figure is one line.
 *
 * X(symbol, name in JSON, title, unit, better, scope, greater, smaller): the last two say
 * what a greater and a smaller value is called in a sentence.
 */
#ifndef REQSCOPE_FIGURES_H
#define REQSCOPE_FIGURES_H

#include "model/result.h"
#include "stats/bootstrap.h"

enum rqs_figure_unit {
	RQS_FIGURE_RATE,    /* 1/s */
	RQS_FIGURE_SECONDS, /* s */
	RQS_FIGURE_BYTES,   /* B */
	RQS_FIGURE_COUNT,   /* 1 */
	RQS_FIGURE_PART,    /* 1, shown in per cent */
};

enum rqs_scope {
	RQS_SCOPE_ROUTE, /* of the whole and of each route */
	RQS_SCOPE_WHOLE,
	RQS_SCOPE_RUNTIME, /* of the whole; shown among sides that all have it */
};

enum rqs_better {
	RQS_BETTER_LOWER = -1,
	RQS_BETTER_NEITHER,
	RQS_BETTER_HIGHER,
};

#define RQS_FIGURES(X)                                                                                                 \
	X(THROUGHPUT, throughput, "throughput", RATE, HIGHER, ROUTE, "higher", "lower")                                \
	X(MEAN, latency_mean, "mean", SECONDS, LOWER, ROUTE, "slower", "faster")                                       \
	X(P50, latency_p50, "p50", SECONDS, LOWER, ROUTE, "slower", "faster")                                          \
	X(P90, latency_p90, "p90", SECONDS, LOWER, ROUTE, "slower", "faster")                                          \
	X(P99, latency_p99, "p99", SECONDS, LOWER, ROUTE, "slower", "faster")                                          \
	X(P999, latency_p999, "p99.9", SECONDS, LOWER, ROUTE, "slower", "faster")                                      \
	X(MAX, latency_max, "max", SECONDS, LOWER, ROUTE, "slower", "faster")                                          \
	X(ERROR_RATE, error_rate, "errors", PART, LOWER, ROUTE, "more", "fewer")                                       \
	X(QUEUE, queue_mean, "queue", SECONDS, LOWER, ROUTE, "longer", "shorter")                                      \
	X(CPU, cpu_per_request, "CPU a request", SECONDS, LOWER, WHOLE, "more", "less")                                \
	X(CPU_TIME, cpu_time_mean, "on a CPU a request", SECONDS, LOWER, ROUTE, "more", "less")                        \
	X(SCHED_WAIT, sched_wait_mean, "waiting for a CPU", SECONDS, LOWER, ROUTE, "more", "less")                     \
	X(CHILDREN_CPU_TIME, children_cpu_time_mean, "children on a CPU", SECONDS, LOWER, ROUTE, "more", "less")       \
	X(GIL_WAIT, gil_wait_mean, "waiting for the GIL", SECONDS, LOWER, ROUTE, "more", "less")                       \
	X(LOOP_DELAY, loop_delay_mean, "waiting for the loop", SECONDS, LOWER, ROUTE, "more", "less")                  \
	X(RSS_MEAN, rss_mean, "memory, mean", BYTES, LOWER, WHOLE, "more", "less")                                     \
	X(RSS_PEAK, rss_peak, "memory, peak", BYTES, LOWER, WHOLE, "more", "less")                                     \
	X(HEAP_MEAN, heap_in_use_mean, "heap, mean", BYTES, LOWER, RUNTIME, "more", "less")                            \
	X(HEAP_PEAK, heap_in_use_peak, "heap, peak", BYTES, LOWER, RUNTIME, "more", "less")                            \
	X(GC_RATE, gc_rate, "collections", RATE, LOWER, RUNTIME, "more", "fewer")                                      \
	X(GC_PAUSE, gc_pause_share, "time paused for them", PART, LOWER, RUNTIME, "more", "less")                      \
	X(GOROUTINES_MEAN, goroutines_mean, "goroutines, mean", COUNT, NEITHER, RUNTIME, "more", "fewer")              \
	X(GOROUTINES_PEAK, goroutines_peak, "goroutines, peak", COUNT, NEITHER, RUNTIME, "more", "fewer")              \
	X(ALLOC_BYTES, alloc_bytes_mean, "allocated a request", BYTES, LOWER, ROUTE, "more", "less")                   \
	X(ALLOC_COUNT, alloc_count_mean, "allocations a request", COUNT, LOWER, ROUTE, "more", "fewer")                \
	X(RECV_BUFFER_BYTES, recv_buffer_bytes_mean, "receive buffers", BYTES, LOWER, ROUTE, "more", "less")           \
	X(AFTER_RESPONSE, after_response_per_request, "allocated afterwards", BYTES, LOWER, RUNTIME, "more", "less")   \
	X(UNATTRIBUTED, unattributed_per_request, "unattributed", BYTES, NEITHER, RUNTIME, "more", "less")             \
	X(REQUEST_BYTES, request_bytes_mean, "request size", BYTES, NEITHER, ROUTE, "greater", "smaller")              \
	X(RESPONSE_BYTES, response_bytes_mean, "response size", BYTES, NEITHER, ROUTE, "greater", "smaller")

enum rqs_figure {
#define RQS_FIGURE_ID(symbol, ...) RQS_FIGURE_##symbol,
	RQS_FIGURES(RQS_FIGURE_ID)
#undef RQS_FIGURE_ID
	    RQS_FIGURE_COUNT_OF,
};

struct rqs_figure_info {
	const char *name, *title;
	enum rqs_figure_unit unit;
	enum rqs_better better;
	enum rqs_scope scope;
	const char *greater, *smaller;
};

/* Whether it is about latency, and says nothing when the load differed. */
bool rqs_figure_is_latency(enum rqs_figure figure);
/* The figure of this name: latency_p99, or p99 for short. False when there is none. */
bool rqs_figure_find(const char *name, size_t length, enum rqs_figure *figure);

extern const struct rqs_figure_info rqs_figures[RQS_FIGURE_COUNT_OF];

/* A figure of a result: of the whole (c = &r->all) or of a route. NAN when it isn't known. */
double rqs_figure_value(enum rqs_figure figure, const struct rqs_result *r, const struct rqs_cell *c);
/*
 * What it is in terms of a run's segments, whose sums are of the metrics: then it has an interval within a run. A value
 * of the statistic times *scale is the figure's. False when it is of the run as a whole only.
 */
bool rqs_figure_statistic(enum rqs_figure figure, struct rqs_statistic *statistic, double *scale);
/* Whether it is a quantile from p90 on, which needs enough values beyond it. */
bool rqs_figure_is_tail(enum rqs_figure figure);
/* For people, to be freed. */
char *rqs_figure_text(enum rqs_figure figure, double value);
/* new / base, NAN where that says nothing. 0 to 0 is 1. */
double rqs_figure_ratio(double base, double new);
/* "1.32x faster", "the same"; to be freed. */
char *rqs_figure_factor(enum rqs_figure figure, double base, double new);
/* 1: new is notably better than base, -1: worse, 0: neither. No verdict: that takes several runs. */
int rqs_figure_judge(enum rqs_figure figure, double base, double new);

#endif
