/*
 * figures.h - what sides are compared by. One more figure is one line.
 *
 * X(symbol, name in JSON, title, unit, better, per route, greater, smaller): the last two
 * say what a greater and a smaller value is called in a sentence.
 */
#ifndef REQSCOPE_FIGURES_H
#define REQSCOPE_FIGURES_H

#include "model/result.h"

enum rqs_figure_unit {
	RQS_FIGURE_RATE,    /* 1/s */
	RQS_FIGURE_SECONDS, /* s */
	RQS_FIGURE_BYTES,   /* B */
	RQS_FIGURE_COUNT,   /* 1 */
	RQS_FIGURE_PART,    /* 1, shown in per cent */
};

enum rqs_better {
	RQS_BETTER_LOWER = -1,
	RQS_BETTER_NEITHER,
	RQS_BETTER_HIGHER,
};

#define RQS_FIGURES(X)                                                                                                 \
	X(THROUGHPUT, throughput, "throughput", RATE, HIGHER, 1, "higher", "lower")                                    \
	X(MEAN, latency_mean, "mean", SECONDS, LOWER, 1, "slower", "faster")                                           \
	X(P50, latency_p50, "p50", SECONDS, LOWER, 1, "slower", "faster")                                              \
	X(P90, latency_p90, "p90", SECONDS, LOWER, 1, "slower", "faster")                                              \
	X(P99, latency_p99, "p99", SECONDS, LOWER, 1, "slower", "faster")                                              \
	X(P999, latency_p999, "p99.9", SECONDS, LOWER, 1, "slower", "faster")                                          \
	X(MAX, latency_max, "max", SECONDS, LOWER, 1, "slower", "faster")                                              \
	X(ERROR_RATE, error_rate, "errors", PART, LOWER, 1, "more", "fewer")                                           \
	X(CPU, cpu_per_request, "CPU a request", SECONDS, LOWER, 0, "more", "less")                                    \
	X(RSS_MEAN, rss_mean, "memory, mean", BYTES, LOWER, 0, "more", "less")                                         \
	X(RSS_PEAK, rss_peak, "memory, peak", BYTES, LOWER, 0, "more", "less")                                         \
	X(ALLOC_BYTES, alloc_bytes_mean, "allocated a request", BYTES, LOWER, 1, "more", "less")                       \
	X(ALLOC_COUNT, alloc_count_mean, "allocations a request", COUNT, LOWER, 1, "more", "fewer")                    \
	X(REQUEST_BYTES, request_bytes_mean, "request size", BYTES, NEITHER, 1, "greater", "smaller")                  \
	X(RESPONSE_BYTES, response_bytes_mean, "response size", BYTES, NEITHER, 1, "greater", "smaller")

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
	bool per_route;
	const char *greater, *smaller;
};

extern const struct rqs_figure_info rqs_figures[RQS_FIGURE_COUNT_OF];

/* A figure of a result: of the whole (c = &r->all) or of a route. NAN when it isn't known. */
double rqs_figure_value(enum rqs_figure figure, const struct rqs_result *r, const struct rqs_cell *c);
/* For people, to be freed. */
char *rqs_figure_text(enum rqs_figure figure, double value);
/* new / base, NAN where that says nothing. 0 to 0 is 1. */
double rqs_figure_ratio(double base, double new);
/* "1.32x faster", "the same"; to be freed. */
char *rqs_figure_factor(enum rqs_figure figure, double base, double new);
/* 1: new is notably better than base, -1: worse, 0: neither. No verdict: that takes several runs. */
int rqs_figure_judge(enum rqs_figure figure, double base, double new);

#endif
