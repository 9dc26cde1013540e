/*
 * metrics.h - what is measured of each request. One more metric is one line.
 *
 * X(symbol, name, column, unit): the name as in the report's JSON; the column
 * of the trace, or 0 for what is computed from several; times are ns here and
 * seconds in reports. Times go to histograms, bytes and counts stay exact
 * while they have few distinct values.
 */
#ifndef REQSCOPE_METRICS_H
#define REQSCOPE_METRICS_H

#include <reqscope/trace_format.h>

enum rqs_unit {
	RQS_UNIT_TIME,
	RQS_UNIT_BYTES,
	RQS_UNIT_COUNT,
};

#define RQS_METRICS(X)                                                                                                 \
	X(LATENCY, latency, 0, TIME)                                                                                   \
	X(QUEUE, queue, RQS_COL_QUEUE, TIME)                                                                           \
	X(HANDLER, handler, RQS_COL_HANDLER, TIME)                                                                     \
	X(SEND, send, RQS_COL_SEND, TIME)                                                                              \
	X(ALLOC_BYTES, alloc_bytes, RQS_COL_ALLOC_BYTES, BYTES)                                                        \
	X(ALLOC_COUNT, alloc_count, RQS_COL_ALLOC_COUNT, COUNT)                                                        \
	X(REQUEST_BYTES, request_bytes, RQS_COL_REQUEST_BYTES, BYTES)                                                  \
	X(RESPONSE_BYTES, response_bytes, RQS_COL_RESPONSE_BYTES, BYTES)                                               \
	X(CPU_TIME, cpu_time, RQS_COL_CPU_TIME, TIME)                                                                  \
	X(SCHED_WAIT, sched_wait, RQS_COL_SCHED_WAIT, TIME)                                                            \
	X(CHILDREN_CPU_TIME, children_cpu_time, RQS_COL_CHILDREN_CPU_TIME, TIME)                                       \
	X(GIL_WAIT, gil_wait, RQS_COL_GIL_WAIT, TIME)                                                                  \
	X(LOOP_DELAY, loop_delay, RQS_COL_LOOP_DELAY, TIME)                                                            \
	X(DOWNSTREAM, downstream, RQS_COL_DOWNSTREAM, TIME)                                                            \
	X(PEAK_BYTES, peak_bytes, RQS_COL_PEAK_BYTES, BYTES)                                                           \
	X(RECV_BUFFER_BYTES, recv_buffer_bytes, RQS_COL_RECV_BUFFER_BYTES, BYTES)

enum rqs_metric {
#define RQS_METRIC_ID(symbol, name, column, unit) RQS_METRIC_##symbol,
	RQS_METRICS(RQS_METRIC_ID)
#undef RQS_METRIC_ID
	    RQS_METRIC_COUNT,
};

struct rqs_metric_info {
	const char *name;
	unsigned column;
	enum rqs_unit unit;
};

extern const struct rqs_metric_info rqs_metrics[RQS_METRIC_COUNT];

#endif
