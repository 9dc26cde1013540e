/*
 * drain.h - reads the region: records to rows, counters to sums, and frees
 * what has been read whole.
 *
 * Trusts nothing in there. Each record is copied out once and then checked; a
 * chunk whose lengths make no sense is left alone from there on.
 */
#ifndef COLLECT_DRAIN_H
#define COLLECT_DRAIN_H

#include "collect/batch.h"
#include "collect/process.h"
#include "collect/site_rows.h"
#include "collect/steps.h"

/* What the collector remembers of a chunk from one pass to the next. */
struct rqs_chunk_view {
	uint64_t owner;
	uint32_t tail; /* bytes read after the header */
	bool broken;   /* its lengths made no sense: not read any further */
};

struct rqs_drain {
	struct rqs_region *region;
	const struct rqs_calibration *clock;
	struct rqs_processes *processes;
	struct rqs_batch *requests;
	void (*full)(void *context); /* must clear the batch; called when it is full */
	void *context;
	struct rqs_site_rows *sites; /* NULL: sampled allocations are skipped */
	uint64_t start_ns;           /* of the region: no request is older */
	uint64_t now_ns;             /* of this pass */
	struct rqs_steps steps;      /* of the clock that arrivals are stamped by */
	struct rqs_chunk_view *chunks;
	uint64_t *last_ordinal;     /* by slot number: of the last record read */
	uint32_t code_searches;     /* left in this pass (take_codes) */
	uint32_t chunks_read;       /* that had records, by the last pass */
	uint32_t threads_used;      /* no thread slot from here on was ever seen taken */
	uint64_t malformed_records; /* framed well, with contents that can't be */
	uint64_t broken_chunks;
};

/* The caller sets region to context first. 0 or -ENOMEM. */
int rqs_drain_init(struct rqs_drain *drain);
void rqs_drain_free(struct rqs_drain *drain);

/* Tells the agents that somebody reads what they commit. */
void rqs_drain_beat(struct rqs_drain *drain);

/* Reads every record committed so far; frees sealed chunks. The number of records of requests and samples. */
size_t rqs_drain_records(struct rqs_drain *drain);

/* Frees chunks and thread slots of threads that have died. */
void rqs_drain_dead_threads(struct rqs_drain *drain);

/* Reads the last records of dying processes, folds their slots into their sums, frees all that they held. */
void rqs_drain_dying(struct rqs_drain *drain);

/* Brings `live` of all processes up to date. */
void rqs_drain_survey(struct rqs_drain *drain);

#endif
