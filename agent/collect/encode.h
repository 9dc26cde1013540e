/*
 * encode.h - values to the payload of a requests, samples or sites frame,
 * as trace_format.md lays it out. Pure: memory in, memory out.
 *
 *   rqs_encoder_begin, rqs_encoder_route for each route, rqs_encoder_column
 *   for each column, rqs_encoder_end
 */
#ifndef COLLECT_ENCODE_H
#define COLLECT_ENCODE_H

#include "reqscope/trace_format.h"

#include <stdbool.h>

/* The null of a nullable column. */
#define RQS_NULL UINT64_MAX
/* No value is larger, so that a reader may add many. */
#define RQS_VALUE_MAX (1ull << 53)

struct rqs_encoder {
	unsigned char *bytes; /* the payload; the encoder's own */
	size_t length;
	size_t capacity;
	uint32_t rows;
	uint32_t routes;
	uint8_t columns;
	size_t columns_at; /* offset of the number of columns */
	bool failed;       /* out of memory: the rest is skipped, rqs_encoder_end says so */
};

void rqs_encoder_init(struct rqs_encoder *encoder);
void rqs_encoder_free(struct rqs_encoder *encoder);

/* Starts a payload of `rows` rows, 1 .. RQS_ROWS_MAX; what was in the encoder is gone. */
void rqs_encoder_begin(struct rqs_encoder *encoder, uint32_t rows);

/* Appends one entry of the route table; only before the first column. */
void rqs_encoder_route(struct rqs_encoder *encoder, uint8_t method, const char *template, uint16_t length);

/*
 * Appends one column of `rows` values, in the shortest form that its id may
 * have; one that is all null, or all 0 where null isn't allowed, is left out.
 */
void rqs_encoder_column(struct rqs_encoder *encoder, uint8_t id, const uint64_t *values);

/* 0: the payload is bytes[0 .. length). -ENOMEM or -EMSGSIZE otherwise. */
int rqs_encoder_end(struct rqs_encoder *encoder);

#endif
