/*
 * trace_format.h - the numbers of trace_format.md, which is normative.
 *
 * Version rule: a new column, key or frame type keeps RQS_TRACE_VERSION; a
 * changed meaning or layout of an existing one raises it.
 */
#ifndef REQSCOPE_TRACE_FORMAT_H
#define REQSCOPE_TRACE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define RQS_TRACE_VERSION 1
#define RQS_FRAME_MAGIC 0x46535152u /* "RQSF" read as little-endian */
#define RQS_FRAME_MAX (64u << 20)   /* bytes, stored and raw */
#define RQS_ROWS_MAX (1u << 20)
#define RQS_ROUTES_MAX 65536u
#define RQS_QUANTISED_NULL 0xFFFFu
#define RQS_METHOD_OTHER 255u

enum rqs_frame_type {
	RQS_FRAME_RUN = 1,
	RQS_FRAME_PROCESS = 2,
	RQS_FRAME_REQUESTS = 3,
	RQS_FRAME_SAMPLES = 4,
	RQS_FRAME_TOTALS = 5,
	RQS_FRAME_END = 6,
	RQS_FRAME_STACKS = 7,
	RQS_FRAME_SITES = 8,
};

struct rqs_frame_header {
	uint32_t magic;
	uint8_t type;
	uint8_t version;
	uint16_t reserved;
	uint32_t stored_length;
	uint32_t raw_length;
	uint64_t first_time;
	uint64_t last_time;
	uint64_t checksum;
};

_Static_assert(sizeof(struct rqs_frame_header) == 40, "frame header layout");
_Static_assert(offsetof(struct rqs_frame_header, stored_length) == 8, "frame header layout");
_Static_assert(offsetof(struct rqs_frame_header, first_time) == 16, "frame header layout");
_Static_assert(offsetof(struct rqs_frame_header, checksum) == 32, "frame header layout");

enum rqs_encoding {
	RQS_ENC_CONSTANT = 0,
	RQS_ENC_VARINT = 1,
	RQS_ENC_DELTA = 2,
	RQS_ENC_QUANTISED = 3,
};

/* X(symbol, id, name, nullable): the columns of request, sample and sites frames. */
#define RQS_COLUMNS(X)                                \
	X(TIME, 1, "time", 0)                         \
	X(PROCESS, 2, "process", 0)                   \
	X(ROUTE, 3, "route", 0)                       \
	X(STATUS, 4, "status", 0)                     \
	X(FLAGS, 5, "flags", 0)                       \
	X(QUEUE, 6, "queue", 1)                       \
	X(HANDLER, 7, "handler", 1)                   \
	X(SEND, 8, "send", 1)                         \
	X(REQUEST_BYTES, 9, "request_bytes", 0)       \
	X(RESPONSE_BYTES, 10, "response_bytes", 0)    \
	X(ALLOC_COUNT, 11, "alloc_count", 1)          \
	X(ALLOC_BYTES, 12, "alloc_bytes", 1)          \
	X(CPU_TIME, 13, "cpu_time", 1)                \
	X(SCHED_WAIT, 14, "sched_wait", 1)            \
	X(GIL_WAIT, 15, "gil_wait", 1)                \
	X(LOOP_DELAY, 16, "loop_delay", 1)            \
	X(DOWNSTREAM, 17, "downstream", 1)            \
	X(PEAK_BYTES, 18, "peak_bytes", 1)            \
	X(RECV_BUFFER_BYTES, 19, "recv_buffer_bytes", 1) \
	X(CHILDREN_CPU_TIME, 20, "children_cpu_time", 1) \
	X(RSS, 32, "rss", 1)                          \
	X(CPU_USER, 33, "cpu_user", 1)                \
	X(CPU_SYSTEM, 34, "cpu_system", 1)            \
	X(THREADS, 35, "threads", 1)                  \
	X(FDS, 36, "fds", 1)                          \
	X(HEAP_IN_USE, 40, "heap_in_use", 1)          \
	X(HEAP_GOAL, 41, "heap_goal", 1)              \
	X(GC_CYCLES, 42, "gc_cycles", 1)              \
	X(GC_PAUSE_TOTAL, 43, "gc_pause_total", 1)    \
	X(GOROUTINES, 44, "goroutines", 1)             \
	X(SITE_EVENT, 48, "event", 0)                  \
	X(SITE_NUMBER, 49, "number", 0)                \
	X(SITE_OWNER, 50, "owner", 0)                  \
	X(SITE_ROUTE, 51, "site_route", 1)             \
	X(SITE_STACK, 52, "stack", 0)                  \
	X(SITE_BYTES, 53, "bytes", 0)                  \
	X(SITE_MEAN, 54, "sample_bytes", 0)            \
	X(SITE_FOLLOWED, 55, "followed", 0)

enum rqs_column {
#define RQS_COLUMN_ID(symbol, id, name, nullable) RQS_COL_##symbol = id,
	RQS_COLUMNS(RQS_COLUMN_ID)
#undef RQS_COLUMN_ID
	RQS_COL_LIMIT = 64, /* ids stay below this */
};

#define RQS_FLAG_ABORTED 1u

/* What a row of a sites frame tells. */
enum rqs_site_event {
	RQS_SITE_ALLOCATED = 0,
	RQS_SITE_FREED = 1,
	RQS_SITE_WITHDRAWN = 2,
	RQS_SITE_EVENTS,
};

/* On whose behalf a sampled allocation was made. */
enum rqs_site_owner {
	RQS_SITE_OF_REQUEST = 0,
	RQS_SITE_AFTER_RESPONSE = 1,
	RQS_SITE_UNATTRIBUTED = 2,
	RQS_SITE_OWNERS,
};

/* The standard methods; the index is what the agent and the trace store. */
#define RQS_METHODS(X) \
	X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(CONNECT) X(OPTIONS) X(TRACE) X(PATCH)

enum rqs_method {
#define RQS_METHOD_ID(name) RQS_METHOD_##name,
	RQS_METHODS(RQS_METHOD_ID)
#undef RQS_METHOD_ID
	RQS_METHOD_COUNT,
};

/* Quantises v (ns) to its 16-bit code, as trace_format.md defines it. */
static inline uint16_t rqs_quantise(uint64_t v)
{
	if (v < 512)
		return (uint16_t)v;
	unsigned e = 63u - (unsigned)__builtin_clzll(v);
	return (uint16_t)((e - 8) * 512 + ((v >> (e - 9)) & 511));
}

/* The middle of the bucket that a code other than RQS_QUANTISED_NULL names. */
static inline uint64_t rqs_dequantise(uint16_t code)
{
	if (code < 1024)
		return code;
	unsigned shift = (unsigned)(code >> 9) - 1; /* e - 9 */
	if (shift > 54)
		return UINT64_MAX; /* no writer makes such a code */
	return ((uint64_t)(512 + (code & 511)) << shift) + (1ull << (shift - 1));
}

#endif
