/* parquet_column.c - levels, values, dictionaries, and pages around them. */
#include "export/parquet_column.h"
#include "export/thrift.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum page_type {
	DATA_PAGE = 0,
	DICTIONARY_PAGE = 2,
};

enum rqs_parquet_type rqs_parquet_type_of(const struct rqs_field *field)
{
	switch (field->type) {
	case RQS_FIELD_TEXT:
		return RQS_PARQUET_BYTE_ARRAY;
	case RQS_FIELD_FLAG:
		return RQS_PARQUET_BOOLEAN;
	case RQS_FIELD_NUMBER:
	case RQS_FIELD_MOMENT:
		break;
	}
	return RQS_PARQUET_INT64;
}

uint64_t *rqs_parquet_column_room(struct rqs_parquet_column *c)
{
	return c->value + c->waiting;
}

/* ---- pieces of a page's body ---- */

static bool all_equal(const uint64_t *value, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++)
		if (value[i] != value[0])
			return false;
	return true;
}

/* `count` values of `bits` bits each, the lowest first, padded to a multiple of eight values. bits <= 32. */
static void put_packed(struct rqs_bytes *to, const uint64_t *value, uint32_t count, unsigned bits)
{
	size_t length = (size_t)(count + 7) / 8 * bits;
	uint8_t *at = rqs_bytes_room(to, length), *end = at + length;
	uint64_t word = 0;
	unsigned have = 0;

	for (uint32_t i = 0; i < count; i++) {
		word |= value[i] << have;
		for (have += bits; have >= 8; have -= 8, word >>= 8)
			*at++ = (uint8_t)word;
	}
	if (have)
		*at++ = (uint8_t)word;
	memset(at, 0, (size_t)(end - at));
	to->length += length;
}

/* The hybrid encoding: one run where all values are the same, else all packed. */
static void put_hybrid(struct rqs_bytes *to, const uint64_t *value, uint32_t count, unsigned bits)
{
	if (count && all_equal(value, count)) {
		rqs_bytes_put_varint(to, (uint64_t)count << 1);
		rqs_bytes_put(to, value, (bits + 7) / 8); /* little-endian */
	} else if (count) {
		rqs_bytes_put_varint(to, (uint64_t)(count + 7) / 8 << 1 | 1);
		put_packed(to, value, count, bits);
	}
}

/* Definition levels, 1 where there is a value, with their length in front. */
static void put_levels(struct rqs_parquet_column *c)
{
	size_t at = c->body.length;

	for (uint32_t i = 0; i < c->waiting; i++)
		c->plain[i] = c->value[i] != RQS_NULL;
	rqs_bytes_put_u32(&c->body, 0);
	put_hybrid(&c->body, c->plain, c->waiting, 1);
	uint32_t length = (uint32_t)(c->body.length - at - sizeof(length));
	memcpy(c->body.at + at, &length, sizeof(length));
}

/* The values without the nulls, in c->plain; what the statistics need. Returns their number. */
static uint32_t gather(struct rqs_parquet_column *c)
{
	uint64_t min = c->any ? c->min : UINT64_MAX, max = c->any ? c->max : 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->waiting; i++) {
		uint64_t v = c->value[i];

		c->plain[n] = v;
		if (v == RQS_NULL)
			continue;
		n++;
		min = v < min ? v : min;
		max = v > max ? v : max;
	}
	c->any |= n > 0;
	c->min = min;
	c->max = max;
	c->nulls += c->waiting - n;
	return n;
}

/* A text's place in the row group's dictionary. */
static uint64_t place(struct rqs_parquet_column *c, uint64_t text)
{
	if (text >= c->known) {
		uint32_t known = (uint32_t)text + 64;

		c->place_of = rqs_grow(c->place_of, known, sizeof(*c->place_of));
		memset(c->place_of + c->known, 0, (known - c->known) * sizeof(*c->place_of));
		c->known = known;
	}
	if (!c->place_of[text]) {
		if (c->entries == c->allocated) {
			c->allocated = c->allocated ? 2 * c->allocated : 64;
			c->entry = rqs_grow(c->entry, c->allocated, sizeof(*c->entry));
		}
		c->entry[c->entries] = (uint32_t)text;
		c->place_of[text] = ++c->entries;
	}
	return c->place_of[text] - 1;
}

static unsigned bits_for(uint32_t entries)
{
	return entries <= 2 ? 1 : 32 - (unsigned)__builtin_clz(entries - 1);
}

static void put_indices(struct rqs_parquet_column *c, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		c->plain[i] = place(c, c->plain[i]);
	uint8_t bits = (uint8_t)bits_for(c->entries);
	rqs_bytes_put(&c->body, &bits, 1);
	put_hybrid(&c->body, c->plain, count, bits);
}

static void put_values(struct rqs_parquet_column *c)
{
	uint32_t count = gather(c);

	switch (rqs_parquet_type_of(c->field)) {
	case RQS_PARQUET_BYTE_ARRAY:
		put_indices(c, count);
		break;
	case RQS_PARQUET_BOOLEAN:
		put_packed(&c->body, c->plain, count, 1);
		break;
	case RQS_PARQUET_INT64:
		rqs_bytes_put(&c->body, c->plain, count * sizeof(*c->plain));
	}
}

/* ---- pages ---- */

static void data_head(struct rqs_thrift *t, uint32_t rows, enum rqs_parquet_encoding encoding)
{
	rqs_thrift_begin(t, 5);
	rqs_thrift_int(t, 1, RQS_THRIFT_I32, rows);
	rqs_thrift_int(t, 2, RQS_THRIFT_I32, encoding);
	rqs_thrift_int(t, 3, RQS_THRIFT_I32, RQS_PARQUET_RLE);
	rqs_thrift_int(t, 4, RQS_THRIFT_I32, RQS_PARQUET_RLE);
	rqs_thrift_end(t);
}

static void dictionary_head(struct rqs_thrift *t, uint32_t entries)
{
	rqs_thrift_begin(t, 7);
	rqs_thrift_int(t, 1, RQS_THRIFT_I32, entries);
	rqs_thrift_int(t, 2, RQS_THRIFT_I32, RQS_PARQUET_PLAIN);
	rqs_thrift_end(t);
}

/* Compresses c->body into a page at the end of `to`. */
static void put_page(struct rqs_parquet_column *c, struct rqs_bytes *to, enum page_type type, uint32_t count,
		     ZSTD_CCtx *zstd)
{
	size_t bound = ZSTD_compressBound(c->body.length), before = to->length;
	struct rqs_bytes packed = {0};
	struct rqs_thrift t;
	bool texts = c->field->type == RQS_FIELD_TEXT;

	/* With room for the worst case it can't fail. */
	packed.length = ZSTD_compress2(zstd, rqs_bytes_room(&packed, bound), bound, c->body.at, c->body.length);
	rqs_thrift_start(&t, to);
	rqs_thrift_int(&t, 1, RQS_THRIFT_I32, type);
	rqs_thrift_int(&t, 2, RQS_THRIFT_I32, (int64_t)c->body.length);
	rqs_thrift_int(&t, 3, RQS_THRIFT_I32, (int64_t)packed.length);
	if (type == DATA_PAGE)
		data_head(&t, count, texts ? RQS_PARQUET_RLE_DICTIONARY : RQS_PARQUET_PLAIN);
	else
		dictionary_head(&t, count);
	rqs_thrift_end(&t);
	c->unpacked += to->length - before + c->body.length;
	rqs_bytes_put(to, packed.at, packed.length);
	rqs_bytes_free(&packed);
}

void rqs_parquet_column_page(struct rqs_parquet_column *c, ZSTD_CCtx *zstd)
{
	if (!c->waiting)
		return;
	c->body.length = 0;
	if (c->field->nullable)
		put_levels(c);
	put_values(c);
	put_page(c, &c->pages, DATA_PAGE, c->waiting, zstd);
	c->waiting = 0;
}

void rqs_parquet_column_dictionary(struct rqs_parquet_column *c, const struct rqs_field_reader *texts, ZSTD_CCtx *zstd,
				   struct rqs_bytes *to)
{
	if (c->field->type != RQS_FIELD_TEXT)
		return;
	c->body.length = 0;
	for (uint32_t i = 0; i < c->entries; i++) {
		const char *text = rqs_field_text(texts, c->entry[i]);
		size_t length = strlen(text);

		rqs_bytes_put_u32(&c->body, (uint32_t)length);
		rqs_bytes_put(&c->body, text, length);
	}
	put_page(c, to, DICTIONARY_PAGE, c->entries, zstd);
}

void rqs_parquet_column_reset(struct rqs_parquet_column *c)
{
	for (uint32_t i = 0; i < c->entries; i++)
		c->place_of[c->entry[i]] = 0;
	c->entries = 0;
	c->pages.length = 0;
	c->unpacked = c->nulls = 0;
	c->any = false;
}

void rqs_parquet_column_free(struct rqs_parquet_column *c)
{
	rqs_bytes_free(&c->pages);
	rqs_bytes_free(&c->body);
	free(c->entry);
	free(c->place_of);
}
