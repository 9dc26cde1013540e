/*
 * parquet_column.h - one column of a row group: values to compressed pages.
 *
 * After apache/parquet-format, README.md and Encodings.md: data pages of
 * version 1, definition levels and dictionary indices as hybrids of runs and
 * packed bits, values PLAIN, each page a zstd frame.
 */
#ifndef REQSCOPE_PARQUET_COLUMN_H
#define REQSCOPE_PARQUET_COLUMN_H

#include "export/bytes.h"
#include "export/fields.h"

#include <zstd.h>

#define RQS_PARQUET_PAGE_ROWS 16384u

/* Numbers of parquet.thrift. */
enum rqs_parquet_type {
	RQS_PARQUET_BOOLEAN = 0,
	RQS_PARQUET_INT64 = 2,
	RQS_PARQUET_BYTE_ARRAY = 6,
};

enum rqs_parquet_encoding {
	RQS_PARQUET_PLAIN = 0,
	RQS_PARQUET_RLE = 3,
	RQS_PARQUET_RLE_DICTIONARY = 8,
};

#define RQS_PARQUET_ZSTD 6

struct rqs_parquet_column {
	const struct rqs_field *field;
	uint32_t waiting; /* rows of the page that is being gathered */
	uint64_t value[RQS_PARQUET_PAGE_ROWS + RQS_BLOCK_ROWS];

	/* Of the row group so far. */
	struct rqs_bytes pages; /* heads and compressed bodies */
	uint64_t unpacked;      /* what they take without compression, heads included */
	uint64_t nulls;
	bool any; /* a value that isn't null: */
	uint64_t min, max;

	/* Texts: the row group's dictionary. */
	uint32_t entries, allocated;
	uint32_t *entry;    /* by its place: the text's number */
	uint32_t *place_of; /* + 1, by the text's number */
	uint32_t known;     /* entries of it */

	struct rqs_bytes body; /* scratch */
	uint64_t plain[RQS_PARQUET_PAGE_ROWS + RQS_BLOCK_ROWS];
};

enum rqs_parquet_type rqs_parquet_type_of(const struct rqs_field *field);
/* Where the next `count` values go, RQS_BLOCK_ROWS at most; the caller fills them in and counts them as waiting. */
uint64_t *rqs_parquet_column_room(struct rqs_parquet_column *c);
/* Makes a page of what waits. */
void rqs_parquet_column_page(struct rqs_parquet_column *c, ZSTD_CCtx *zstd);
/* The dictionary's page, which comes before the others; nothing unless the column is of texts. Adds to c->unpacked. */
void rqs_parquet_column_dictionary(struct rqs_parquet_column *c, const struct rqs_field_reader *texts, ZSTD_CCtx *zstd,
				   struct rqs_bytes *to);
/* Forgets the row group. */
void rqs_parquet_column_reset(struct rqs_parquet_column *c);
void rqs_parquet_column_free(struct rqs_parquet_column *c);

#endif
