/*
 * site_rows.h - sampled allocations on their way from the region to the trace:
 * each waits for its request's record, which tells the route, and is then a
 * row of a sites frame with its stack's number.
 *
 *   sample read -> frames resolved -> waits for the record of (slot, ordinal)
 *                                       read: its route, that of the request
 *                                       never to be read: unattributed
 *
 * A process's rows wait, besides, until it is noted; those of one that ends
 * unnoted aren't the trace's. All bounds are in site_rows.c; what doesn't wait
 * any longer because of them is counted.
 */
#ifndef COLLECT_SITE_ROWS_H
#define COLLECT_SITE_ROWS_H

#include "collect/batch.h"
#include "collect/process.h"
#include "collect/stack_table.h"

struct rqs_site_rows;

/* Where rows go to. */
struct rqs_site_sink {
	struct rqs_batch *batch; /* of rqs_batch_sites */
	struct rqs_stack_table *stacks;
	void (*full)(void *context); /* must clear the batch; called when it is full */
	void *context;
};

/* NULL: no memory. The sink is copied. */
struct rqs_site_rows *rqs_site_rows_new(uint64_t sample_bytes, const struct rqs_site_sink *sink);
void rqs_site_rows_free(struct rqs_site_rows *rows);

/*
 * A sample, a freed or a code record of that process; `size` bytes were copied
 * to an address that is a multiple of 8, and lengths are yet to be checked. A
 * sample's slot is one of the process's. False: it can't be one.
 */
bool rqs_site_rows_take(struct rqs_site_rows *rows, struct rqs_watched *watched, const void *record, size_t size,
			uint64_t time_ns);

/* Were the code objects that it names told of? So they are, too, where it names none, or can't be a sample. */
bool rqs_site_rows_know(const struct rqs_watched *watched, const struct rqs_sample_record *sample, size_t size);

/* The record of the request in that slot of the process was read: its samples get its route. */
void rqs_site_rows_request(struct rqs_site_rows *rows, const struct rqs_watched *watched,
			   const struct rqs_record *record, uint8_t method);

/*
 * After a pass over all records: what waits for a record that was to come by
 * now, had there been one, waits no longer.
 */
void rqs_site_rows_pass(struct rqs_site_rows *rows, const struct rqs_region *region);

/* The rows of processes that were noted since go where they belong. */
void rqs_site_rows_noted(struct rqs_site_rows *rows);

/* The process ends (NULL: the recording does, for all): nothing is waited for any longer. */
void rqs_site_rows_end(struct rqs_site_rows *rows, const struct rqs_watched *watched);

#define RQS_SITE_REASONS 8u

/* What a reader should know of. */
struct rqs_site_troubles {
	uint64_t samples;
	uint64_t unwaited; /* of these, unattributed, as too many were waiting */
	uint64_t unkept;   /* rows that weren't kept: too many, of processes that didn't serve yet */
	uint64_t no_stack; /* samples without any frame */
	uint64_t beyond;   /* stacks that found no room */
	struct rqs_site_reason {
		uint64_t samples; /* whose stack doesn't reach its outermost end, ... */
		char why[48];     /* and what is in its place: "(truncated)" */
	} reasons[RQS_SITE_REASONS];
};
void rqs_site_rows_troubles(const struct rqs_site_rows *rows, struct rqs_site_troubles *troubles);

#endif
