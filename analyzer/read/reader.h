/*
 * reader.h - from bytes to whole, correct frames; what is not one is damage.
 *
 * The input is untrusted. Lengths are checked before anything is allocated,
 * the checksum before anything is decompressed, and the decompressor gets
 * exactly raw_length bytes to write to. After damage the reader goes on at
 * the next magic that heads a correct frame.
 */
#ifndef REQSCOPE_READER_H
#define REQSCOPE_READER_H

#include "read/source.h"

#include <reqscope/trace_format.h>

#include <zstd.h>

/* Times of a header stay below, so that sums of a few of them fit. ns. */
#define RQS_TIME_LIMIT (1ull << 62)

struct rqs_damage {
	uint64_t offset; /* in the file */
	char what[120];
};

struct rqs_frame {
	uint64_t offset;
	struct rqs_frame_header header;
};

struct rqs_reader {
	struct rqs_source source;
	uint64_t offset;    /* of the next frame */
	uint8_t *stored;    /* of the frame read last */
	size_t stored_size; /* allocated */
	uint8_t *raw;       /* decompressed */
	size_t raw_size;    /* allocated */
	ZSTD_DCtx *zstd;
	ZSTD_DCtx *stream;    /* for prefixes */
	uint64_t search_left; /* bytes that resynchronising may still hash */
};

enum rqs_read_result {
	RQS_READ_END,    /* nothing left */
	RQS_READ_FRAME,  /* *frame is whole and its checksum right */
	RQS_READ_DAMAGE, /* *damage tells; the next call goes on behind it */
};

/* 0, or -errno of opening the file. */
int rqs_reader_open(struct rqs_reader *r, const char *path);
void rqs_reader_open_buffer(struct rqs_reader *r, const uint8_t *bytes, size_t size);
void rqs_reader_rewind(struct rqs_reader *r);
/* Gives back the buffers; they come again when needed. */
void rqs_reader_release(struct rqs_reader *r);
void rqs_reader_close(struct rqs_reader *r);

enum rqs_read_result rqs_reader_next(struct rqs_reader *r, struct rqs_frame *frame, struct rqs_damage *damage);
/*
 * The decompressed payload of the frame that the last call returned, or NULL
 * with *damage filled in. Belongs to the reader, and is valid until its next
 * call. header.raw_length is its length, never 0.
 */
const uint8_t *rqs_reader_payload(struct rqs_reader *r, const struct rqs_frame *frame, struct rqs_damage *damage);
/*
 * The first bytes of that payload, RQS_PREFIX or all of it if it is shorter,
 * for a fraction of the cost. NULL when it can't be had so cheaply: take the
 * whole payload then, which also tells what is wrong. Validity as above.
 */
#define RQS_PREFIX 65536u
const uint8_t *rqs_reader_prefix(struct rqs_reader *r, const struct rqs_frame *frame, size_t *length);

#endif
