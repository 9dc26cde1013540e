/* thrift.c - heads of fields, and values. */
#include "export/thrift.h"

#include <string.h>

static void put_byte(struct rqs_thrift *t, unsigned byte)
{
	uint8_t b = (uint8_t)byte;

	rqs_bytes_put(t->to, &b, 1);
}

static void put_zigzag(struct rqs_thrift *t, int64_t value)
{
	rqs_bytes_put_varint(t->to, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
}

static void head(struct rqs_thrift *t, int field, enum rqs_thrift_type type)
{
	int step = field - t->last[t->depth];

	if (!field)
		return;
	if (step > 0 && step <= 15) {
		put_byte(t, (unsigned)step << 4 | type);
	} else {
		put_byte(t, type);
		put_zigzag(t, field);
	}
	t->last[t->depth] = field;
}

void rqs_thrift_start(struct rqs_thrift *t, struct rqs_bytes *to)
{
	t->to = to;
	t->depth = 0;
	t->last[0] = 0;
}

void rqs_thrift_begin(struct rqs_thrift *t, int field)
{
	head(t, field, RQS_THRIFT_STRUCT);
	t->last[++t->depth] = 0;
}

void rqs_thrift_end(struct rqs_thrift *t)
{
	put_byte(t, 0);
	if (t->depth)
		t->depth--;
}

void rqs_thrift_int(struct rqs_thrift *t, int field, enum rqs_thrift_type type, int64_t value)
{
	head(t, field, type);
	put_zigzag(t, value);
}

void rqs_thrift_bool(struct rqs_thrift *t, int field, bool value)
{
	head(t, field, value ? RQS_THRIFT_TRUE : RQS_THRIFT_FALSE);
}

void rqs_thrift_binary(struct rqs_thrift *t, int field, const void *bytes, size_t length)
{
	head(t, field, RQS_THRIFT_BINARY);
	rqs_bytes_put_varint(t->to, length);
	rqs_bytes_put(t->to, bytes, length);
}

void rqs_thrift_text(struct rqs_thrift *t, int field, const char *text)
{
	rqs_thrift_binary(t, field, text, strlen(text));
}

void rqs_thrift_list(struct rqs_thrift *t, int field, enum rqs_thrift_type type, size_t count)
{
	head(t, field, RQS_THRIFT_LIST);
	if (count < 15) {
		put_byte(t, (unsigned)count << 4 | type);
	} else {
		put_byte(t, 0xf0u | type);
		rqs_bytes_put_varint(t->to, count);
	}
}
