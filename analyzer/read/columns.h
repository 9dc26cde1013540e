/*
 * columns.h - request, sample and site payloads: columns to rows, a block at a time.
 *
 * A pure function of a buffer: nothing is allocated, every read is checked
 * against the buffer's end, and the buffer must only outlive the decoding.
 * A payload that turns out bad in the middle has given its rows before that.
 */
#ifndef REQSCOPE_COLUMNS_H
#define REQSCOPE_COLUMNS_H

#include <reqscope/trace_format.h>

#include <stdbool.h>

#define RQS_BLOCK_ROWS 1024
#define RQS_NULL UINT64_MAX /* in a nullable column */

struct rqs_column_cursor {
	uint8_t id, encoding;
	bool nullable;
	const uint8_t *next, *end; /* quantised: the high halves left */
	const uint8_t *low;        /* quantised: the low halves left */
	uint64_t value;            /* constant: the value; delta: of the row before */
};

struct rqs_columns {
	uint32_t rows;   /* of the payload */
	uint32_t routes; /* entries of its table */
	uint32_t row;    /* rows decoded so far */
	const uint8_t *route_next, *route_end;
	unsigned cursors;
	struct rqs_column_cursor cursor[RQS_COL_LIMIT];
	uint64_t present;  /* bit of each wanted column that is there */
	const char *error; /* why decoding stopped, or NULL */
};

struct rqs_block {
	uint32_t rows;
	uint64_t present;
	/* Of columns that aren't present: RQS_NULL in nullable ones, otherwise 0. */
	uint64_t column[RQS_COL_LIMIT][RQS_BLOCK_ROWS];
};

#define RQS_COLUMN_BIT(id) (1ull << (id))

/* Checks the table and the columns' lengths. `wanted`: columns to decode, by RQS_COLUMN_BIT. False: c->error tells. */
bool rqs_columns_open(struct rqs_columns *c, const uint8_t *bytes, size_t length, uint64_t wanted);
/* The same for the counts and the route table alone, which `bytes` must hold in full: for rqs_columns_route. */
bool rqs_columns_open_table(struct rqs_columns *c, const uint8_t *bytes, size_t length);
/* The next entry of the route table; false behind the last. The template isn't terminated, and any byte may be in it.
 */
bool rqs_columns_route(struct rqs_columns *c, uint8_t *method, const char **text, uint16_t *length);
/* Makes a block usable: fills in what absent columns hold. Once, before its first use. */
void rqs_block_init(struct rqs_block *block);
/*
 * The next rows. False at the end or at an error. Values are in range: process below 65,536, route below c->routes,
 * status below 1,000, time and quantised values below 2^61; of sites the route is below c->routes or null, event, owner
 * and followed are what the format knows. A block is used for payloads of one frame type at a time;
 * *block must not be touched between calls.
 */
bool rqs_columns_decode(struct rqs_columns *c, struct rqs_block *block);

#endif
