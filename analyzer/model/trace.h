/*
 * trace.h - traces as they are loaded: where they come from, what their
 * metadata says, and their result.
 *
 * Loading is two passes over each file: the first finds the templates, which
 * must all be known before routes can be told apart, and the first arrival;
 * the second adds up. Memory doesn't grow with the length of a trace.
 */
#ifndef REQSCOPE_TRACE_H
#define REQSCOPE_TRACE_H

#include "model/result.h"
#include "model/routes.h"
#include "model/window.h"
#include "read/scan.h"

struct rqs_process {
	bool present;
	int64_t pid;
	char *runtime, *runtime_version; /* NULL: not said */
	char *host, *label;              /* of its recording; NULL: not said */
	uint64_t requests;
};

struct rqs_trace {
	const char *file;
	char *fatal;          /* why nothing could be read, or NULL */
	struct rqs_scan scan; /* of the second pass */

	cJSON *run;    /* the run frame, or NULL */
	cJSON *totals; /* the last totals or the end frame, or NULL */
	unsigned processes;
	struct rqs_process *process;              /* by index; gaps aren't present */
	uint64_t start_monotonic, start_realtime; /* ns; 0 when there is no run frame */
	uint64_t first_arrival, last_arrival;     /* of the whole trace */

	struct rqs_result result;
};

struct rqs_traces {
	unsigned count;
	struct rqs_trace *trace;
	struct rqs_routes *routes;
};

typedef void (*rqs_progress)(void *context, const char *file, unsigned index, unsigned count, uint64_t done,
			     uint64_t size);

/* A block of requests, as the second pass reads it. */
struct rqs_request_rows {
	const struct rqs_trace *trace; /* its processes are known, its result is not */
	const struct rqs_block *block;
	uint64_t first_time;     /* ns on the trace's clock; the column time counts from there, in us */
	const uint64_t *latency; /* ns, a row; RQS_NULL: not known */
	const unsigned *route;   /* a row of the routes, by the frame's route index */
	uint64_t from, to;       /* the window: arrivals in [from, to) count */
};

struct rqs_load_options {
	struct rqs_window window;
	bool sites; /* load the sampled allocations, too: result.sites */
	void (*rows)(void *context, const struct rqs_request_rows *rows); /* sees each block, or NULL */
	void *rows_context;
	void (*loaded)(void *context, unsigned index); /* is told of each trace that is added up, or NULL */
	void *loaded_context;
	rqs_progress progress; /* or NULL */
	void *progress_context;
};

/* Never fails as a whole: look at each trace's fatal, result.damaged and scan. `file`s must outlive the traces. */
void rqs_traces_load(struct rqs_traces *traces, char *const *files, unsigned count,
		     const struct rqs_load_options *options);
void rqs_traces_free(struct rqs_traces *traces);

/* Metadata; NULL when the trace doesn't say. */
const struct rqs_process *rqs_trace_main_process(const struct rqs_trace *t); /* the one with the most requests */
const char *rqs_trace_label(const struct rqs_trace *t);
const char *rqs_trace_host(const struct rqs_trace *t); /* its name */
/* Whether the recording began while the program ran already. */
bool rqs_trace_is_attached(const struct rqs_trace *t);
/* What the totals say of the attaching: pid, processes, attach_stopped_ns, detach_stopped_ns. NULL: nothing. */
const cJSON *rqs_trace_attach(const struct rqs_trace *t);

/* JSON helpers that accept anything. A number may be a decimal string. */
const char *rqs_json_string(const cJSON *object, const char *key);
uint64_t rqs_json_u64(const cJSON *object, const char *key);

#endif
