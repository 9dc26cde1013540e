/*
 * site_rows.h - sampled allocations on their way from the region to the trace:
 * each waits for its request's record, which tells the route, and is then a
 * row of a sites frame with its stack's number.
 */
#ifndef COLLECT_SITE_ROWS_H
#define COLLECT_SITE_ROWS_H

#include "collect/batch.h"
#include "collect/process.h"
#include "unwind/code.h"

struct rqs_site_rows;

/* NULL: no memory. */
struct rqs_site_rows *rqs_site_rows_new(uint64_t sample_bytes);
void rqs_site_rows_free(struct rqs_site_rows *rows);

/* A sample, a freed or a code record of that process; `size` bytes were copied, and lengths are yet to be checked. */
void rqs_site_rows_take(struct rqs_site_rows *rows, struct rqs_watched *watched, const void *record, size_t size,
		    uint64_t time_ns);
/* The record of the request in that slot was read: its samples get its route. */
void rqs_site_rows_request(struct rqs_site_rows *rows, uint32_t slot, uint64_t ordinal, uint8_t method, const char *route,
		       uint16_t length);

#endif
