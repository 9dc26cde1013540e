/*
 * parquet.c - Apache Parquet: a row a request, in groups of 128 Ki rows.
 *
 *   PAR1 | group: column: [dictionary page] data pages | ... | metadata | length | PAR1
 *
 * The layout is that of apache/parquet-format, README.md; the metadata's
 * fields are numbered as in its parquet.thrift. Only the metadata of a group,
 * some 3 KiB, are kept until the end, as the format wants it.
 */
#include "export/parquet_column.h"
#include "export/thrift.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "PAR1"
#define GROUP_ROWS 131072u
#define LEVEL 1 /* zstd's; higher ones cost much time for little */

struct parquet {
	FILE *out;
	uint64_t offset; /* in the file */
	struct rqs_field_reader *fields;
	ZSTD_CCtx *zstd;
	uint64_t rows;
	uint32_t groups, group_rows;
	struct rqs_bytes group; /* metadata of all groups so far */
	struct rqs_bytes dictionary;
	struct rqs_parquet_column column[RQS_FIELD_COUNT];
};

static void *start_parquet(const struct rqs_export *what)
{
	struct parquet *p = rqs_zalloc(1, sizeof(*p));

	p->out = what->out;
	p->fields = rqs_field_reader_new(what);
	p->zstd = ZSTD_createCCtx();
	if (!p->zstd) {
		fputs("reqscope: out of memory\n", stderr);
		exit(2);
	}
	ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, LEVEL);
	for (unsigned f = 0; f < RQS_FIELD_COUNT; f++)
		p->column[f].field = &rqs_fields[f];
	return p;
}

static void put(struct parquet *p, const void *bytes, size_t length)
{
	fwrite(bytes, 1, length, p->out);
	p->offset += length;
}

static void put_magic(struct parquet *p)
{
	if (!p->offset)
		put(p, MAGIC, strlen(MAGIC));
}

/* ---- metadata of a column in a group ---- */

static void put_bound(struct rqs_thrift *t, int field, const struct rqs_field *of, uint64_t value)
{
	if (of->type == RQS_FIELD_FLAG)
		rqs_thrift_binary(t, field, &value, 1);
	else
		rqs_thrift_binary(t, field, &value, sizeof(value)); /* little-endian */
}

/* The first and the last text in the order of bytes, which is Parquet's for texts. */
static void text_bounds(const struct parquet *p, const struct rqs_parquet_column *c, const char **min, const char **max)
{
	*min = *max = rqs_field_text(p->fields, c->entry[0]);
	for (uint32_t i = 1; i < c->entries; i++) {
		const char *text = rqs_field_text(p->fields, c->entry[i]);

		*min = strcmp(text, *min) < 0 ? text : *min;
		*max = strcmp(text, *max) > 0 ? text : *max;
	}
}

static void put_statistics(const struct parquet *p, struct rqs_thrift *t, const struct rqs_parquet_column *c)
{
	const char *min, *max;

	rqs_thrift_begin(t, 12);
	rqs_thrift_int(t, 3, RQS_THRIFT_I64, (int64_t)c->nulls);
	if (c->any && c->field->type == RQS_FIELD_TEXT) {
		text_bounds(p, c, &min, &max);
		rqs_thrift_text(t, 5, max);
		rqs_thrift_text(t, 6, min);
	} else if (c->any) {
		put_bound(t, 5, c->field, c->max);
		put_bound(t, 6, c->field, c->min);
	}
	rqs_thrift_end(t);
}

static void put_encodings(struct rqs_thrift *t, bool texts)
{
	rqs_thrift_list(t, 2, RQS_THRIFT_I32, texts ? 3 : 2);
	rqs_thrift_int(t, 0, RQS_THRIFT_I32, RQS_PARQUET_PLAIN);
	rqs_thrift_int(t, 0, RQS_THRIFT_I32, RQS_PARQUET_RLE);
	if (texts)
		rqs_thrift_int(t, 0, RQS_THRIFT_I32, RQS_PARQUET_RLE_DICTIONARY);
}

/* `start`: where its pages begin in the file; `dictionary`: bytes of the first of them, 0 when that is a data page. */
static void describe_column(const struct parquet *p, struct rqs_thrift *t, const struct rqs_parquet_column *c,
			    uint64_t start, size_t dictionary)
{
	rqs_thrift_begin(t, 0);
	rqs_thrift_int(t, 2, RQS_THRIFT_I64, 0); /* the metadata are nowhere else */
	rqs_thrift_begin(t, 3);
	rqs_thrift_int(t, 1, RQS_THRIFT_I32, rqs_parquet_type_of(c->field));
	put_encodings(t, dictionary != 0);
	rqs_thrift_list(t, 3, RQS_THRIFT_BINARY, 1);
	rqs_thrift_text(t, 0, c->field->name);
	rqs_thrift_int(t, 4, RQS_THRIFT_I32, RQS_PARQUET_ZSTD);
	rqs_thrift_int(t, 5, RQS_THRIFT_I64, p->group_rows);
	rqs_thrift_int(t, 6, RQS_THRIFT_I64, (int64_t)c->unpacked);
	rqs_thrift_int(t, 7, RQS_THRIFT_I64, (int64_t)(p->offset - start));
	rqs_thrift_int(t, 9, RQS_THRIFT_I64, (int64_t)(start + dictionary));
	if (dictionary)
		rqs_thrift_int(t, 11, RQS_THRIFT_I64, (int64_t)start);
	put_statistics(p, t, c);
	rqs_thrift_end(t);
	rqs_thrift_end(t);
}

/* ---- groups ---- */

static void put_column(struct parquet *p, struct rqs_thrift *t, struct rqs_parquet_column *c)
{
	uint64_t start = p->offset;

	p->dictionary.length = 0;
	rqs_parquet_column_page(c, p->zstd);
	rqs_parquet_column_dictionary(c, p->fields, p->zstd, &p->dictionary);
	if (p->dictionary.length)
		put(p, p->dictionary.at, p->dictionary.length);
	put(p, c->pages.at, c->pages.length);
	describe_column(p, t, c, start, p->dictionary.length);
}

static void put_group(struct parquet *p)
{
	struct rqs_thrift t;
	uint64_t start, unpacked = 0;

	if (!p->group_rows)
		return;
	put_magic(p);
	start = p->offset;
	rqs_thrift_start(&t, &p->group);
	rqs_thrift_list(&t, 1, RQS_THRIFT_STRUCT, RQS_FIELD_COUNT);
	for (unsigned f = 0; f < RQS_FIELD_COUNT; f++) {
		put_column(p, &t, &p->column[f]);
		unpacked += p->column[f].unpacked;
		rqs_parquet_column_reset(&p->column[f]);
	}
	rqs_thrift_int(&t, 2, RQS_THRIFT_I64, (int64_t)unpacked);
	rqs_thrift_int(&t, 3, RQS_THRIFT_I64, p->group_rows);
	rqs_thrift_int(&t, 5, RQS_THRIFT_I64, (int64_t)start);
	rqs_thrift_int(&t, 6, RQS_THRIFT_I64, (int64_t)(p->offset - start));
	rqs_thrift_end(&t);
	p->groups++;
	p->group_rows = 0;
}

/* As precise as the trace; and Spark reads no timestamps of ns. */
static void to_microseconds(uint64_t *moment, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		moment[i] = moment[i] == RQS_NULL ? RQS_NULL : moment[i] / 1000;
}

static void take_parquet(void *state, const struct rqs_chosen *chosen)
{
	struct parquet *p = state;

	for (unsigned f = 0; f < RQS_FIELD_COUNT; f++) {
		struct rqs_parquet_column *c = &p->column[f];

		rqs_field_values(p->fields, chosen, f, rqs_parquet_column_room(c));
		if (c->field->type == RQS_FIELD_MOMENT)
			to_microseconds(rqs_parquet_column_room(c), chosen->count);
		c->waiting += chosen->count;
		if (c->waiting >= RQS_PARQUET_PAGE_ROWS)
			rqs_parquet_column_page(c, p->zstd);
	}
	p->rows += chosen->count;
	p->group_rows += chosen->count;
	if (p->group_rows >= GROUP_ROWS)
		put_group(p);
}

/* ---- the file's metadata ---- */

static void put_logical_type(struct rqs_thrift *t, enum rqs_field_type type)
{
	if (type == RQS_FIELD_TEXT) {
		rqs_thrift_int(t, 6, RQS_THRIFT_I32, 0); /* UTF8, for readers that know no logical types */
		rqs_thrift_begin(t, 10);
		rqs_thrift_begin(t, 1); /* STRING */
		rqs_thrift_end(t);
		rqs_thrift_end(t);
	} else if (type == RQS_FIELD_MOMENT) {
		rqs_thrift_int(t, 6, RQS_THRIFT_I32, 10); /* TIMESTAMP_MICROS, for the same */
		rqs_thrift_begin(t, 10);
		rqs_thrift_begin(t, 8);      /* TIMESTAMP */
		rqs_thrift_bool(t, 1, true); /* UTC */
		rqs_thrift_begin(t, 2);
		rqs_thrift_begin(t, 2); /* MICROS */
		rqs_thrift_end(t);
		rqs_thrift_end(t);
		rqs_thrift_end(t);
		rqs_thrift_end(t);
	}
}

static void put_schema(struct rqs_thrift *t)
{
	rqs_thrift_list(t, 2, RQS_THRIFT_STRUCT, RQS_FIELD_COUNT + 1);
	rqs_thrift_begin(t, 0);
	rqs_thrift_text(t, 4, "request");
	rqs_thrift_int(t, 5, RQS_THRIFT_I32, RQS_FIELD_COUNT);
	rqs_thrift_end(t);
	for (const struct rqs_field *f = rqs_fields; f < rqs_fields + RQS_FIELD_COUNT; f++) {
		rqs_thrift_begin(t, 0);
		rqs_thrift_int(t, 1, RQS_THRIFT_I32, rqs_parquet_type_of(f));
		rqs_thrift_int(t, 3, RQS_THRIFT_I32, f->nullable); /* REQUIRED, OPTIONAL */
		rqs_thrift_text(t, 4, f->name);
		put_logical_type(t, f->type);
		rqs_thrift_end(t);
	}
}

static void put_key(struct rqs_thrift *t, const char *key, const char *value)
{
	rqs_thrift_begin(t, 0);
	rqs_thrift_text(t, 1, key);
	rqs_thrift_text(t, 2, value);
	rqs_thrift_end(t);
}

/* Without it min and max of the statistics have no meaning. */
static void put_orders(struct rqs_thrift *t)
{
	rqs_thrift_list(t, 7, RQS_THRIFT_STRUCT, RQS_FIELD_COUNT);
	for (unsigned f = 0; f < RQS_FIELD_COUNT; f++) {
		rqs_thrift_begin(t, 0);
		rqs_thrift_begin(t, 1); /* the type's own order */
		rqs_thrift_end(t);
		rqs_thrift_end(t);
	}
}

static void put_metadata(struct parquet *p)
{
	struct rqs_bytes metadata = {0};
	struct rqs_thrift t;

	rqs_thrift_start(&t, &metadata);
	rqs_thrift_int(&t, 1, RQS_THRIFT_I32, 2); /* version: there are logical types and newer encodings */
	put_schema(&t);
	rqs_thrift_int(&t, 3, RQS_THRIFT_I64, (int64_t)p->rows);
	rqs_thrift_list(&t, 4, RQS_THRIFT_STRUCT, p->groups);
	rqs_bytes_put(&metadata, p->group.at, p->group.length);
	rqs_thrift_list(&t, 5, RQS_THRIFT_STRUCT, 2);
	put_key(&t, "reqscope.schema", RQS_REQUESTS_SCHEMA);
	put_key(&t, "reqscope.version", RQS_VERSION);
	rqs_thrift_text(&t, 6, "reqscope version " RQS_VERSION);
	put_orders(&t);
	rqs_thrift_end(&t);
	rqs_bytes_put_u32(&metadata, (uint32_t)metadata.length);
	put(p, metadata.at, metadata.length);
	put(p, MAGIC, strlen(MAGIC));
	rqs_bytes_free(&metadata);
}

static void finish_parquet(void *state)
{
	struct parquet *p = state;

	put_magic(p);
	put_group(p);
	put_metadata(p);
}

static void free_parquet(void *state)
{
	struct parquet *p = state;

	for (unsigned f = 0; f < RQS_FIELD_COUNT; f++)
		rqs_parquet_column_free(&p->column[f]);
	rqs_bytes_free(&p->group);
	rqs_bytes_free(&p->dictionary);
	rqs_field_reader_free(p->fields);
	ZSTD_freeCCtx(p->zstd);
	free(p);
}

const struct rqs_exporter rqs_exporter_parquet = {
    .name = "parquet",
    .binary = true,
    .start = start_parquet,
    .take = take_parquet,
    .finish = finish_parquet,
    .free = free_parquet,
};
