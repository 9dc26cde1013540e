/*
 * result.h - the numbers of one trace, or of several runs united into one
 * side of a comparison. What is not known says so; nothing is guessed.
 */
#ifndef REQSCOPE_RESULT_H
#define REQSCOPE_RESULT_H

#include "model/alloc_sites.h"
#include "model/cell.h"
#include "model/timeline.h"

#include <stdbool.h>

/* X(name): as in the trace's totals and the report. */
#define RQS_COMPLETENESS(X) X(started) X(finished) X(dropped) X(unfinished) X(given_up)

struct rqs_completeness {
	bool known; /* false: no totals frame; only finished is filled in, with what was read */
#define RQS_COMPLETENESS_FIELD(name) uint64_t name;
	RQS_COMPLETENESS(RQS_COMPLETENESS_FIELD)
#undef RQS_COMPLETENESS_FIELD
};

/*
 * X(name): allocations of the whole recording: all, and those that aren't
 * part of any request's. Together with the requests' the latter are all.
 */
#define RQS_ALLOCS(X) X(process_alloc) X(unattributed) X(after_response)

struct rqs_alloc {
	bool known;
	uint64_t bytes, count;
};

/* Something that goes up and down, over the sweeps of the sampler; of several processes their sum. */
struct rqs_level {
	bool known;
	double mean, peak; /* of several runs the mean of the means, the greatest of the peaks */
};

/* X(name): of the language runtime, as in the report. */
#define RQS_RUNTIME_LEVELS(X) X(heap_in_use) X(heap_goal) X(goroutines)
#define RQS_RUNTIME_COUNTS(X) X(gc_cycles) X(gc_pause)

/* Counted in the window, by all processes, up to the next sample on either side. */
struct rqs_counted {
	bool known;
	double value;
};

struct rqs_note {
	char *what, *why;
};

struct rqs_result {
	unsigned runs;
	uint64_t processes;
	uint64_t recorded; /* requests in the trace, inside the window or not */
	bool truncated;    /* no end frame, or damage */
	bool damaged;
	bool windowed; /* requests outside of a window were left out */
	bool thin;     /* its cells were moved to another result: they keep what differs between runs, not all */

	struct rqs_grid grid; /* of the cells' slices; of one run only */
	struct rqs_timeline timeline;
	struct rqs_cell all; /* the sum of the cells below */
	unsigned cells;
	struct rqs_cell **cell; /* by route row; NULL where there was no request */

	double duration; /* s, summed over runs */
	bool cpu_known;
	double cpu_user, cpu_system; /* s, in the window */
	struct rqs_level rss;        /* B */

	bool has_runtime_stats; /* of a process whose runtime keeps such figures */
#define RQS_LEVEL_FIELD(name) struct rqs_level name;
	RQS_RUNTIME_LEVELS(RQS_LEVEL_FIELD) /* B, B, 1 */
#undef RQS_LEVEL_FIELD
#define RQS_COUNTED_FIELD(name) struct rqs_counted name;
	RQS_RUNTIME_COUNTS(RQS_COUNTED_FIELD) /* 1, s */
#undef RQS_COUNTED_FIELD

	struct rqs_completeness completeness;
	uint64_t unplaced; /* Go programs that ran without hooks */
	bool connections_known;
	uint64_t accepted, peak;
#define RQS_ALLOC_FIELD(name) struct rqs_alloc name;
	RQS_ALLOCS(RQS_ALLOC_FIELD)
#undef RQS_ALLOC_FIELD

	struct rqs_alloc_sites sites; /* where they were asked for */

	unsigned notes;
	struct rqs_note *note; /* what was not measured, without repetitions */
};

/* Untrusted numbers: what is too much stays the greatest. */
void rqs_alloc_add(struct rqs_alloc *alloc, uint64_t bytes, uint64_t count);
void rqs_result_note(struct rqs_result *r, const char *what, const char *why);
/* The cell of a row, made when there is none. */
struct rqs_cell *rqs_result_cell(struct rqs_result *r, unsigned row);
/* Fills in `all` from the cells. */
void rqs_result_sum(struct rqs_result *r);
/* Moves the cells into another result. What is left of them are their slices and the summaries of each run. */
void rqs_result_move_cells(struct rqs_result *into, struct rqs_result *from);
/* Adds all but the cells. */
void rqs_result_merge(struct rqs_result *into, const struct rqs_result *from);
void rqs_result_free(struct rqs_result *r);

/* Derived figures; NAN where they aren't known. */
double rqs_throughput(const struct rqs_result *r, const struct rqs_cell *c); /* 1/s */
double rqs_in_flight_mean(const struct rqs_result *r);
double rqs_cpu_per_request(const struct rqs_result *r); /* s */
/* Bytes a request of the whole recording, since that is what is known of them. */
double rqs_alloc_per_request(const struct rqs_result *r, const struct rqs_alloc *alloc);

#endif
