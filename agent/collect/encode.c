/* encode.c - columns of values to bytes. */
#include "collect/encode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VARINT_MAX 10
#define COLUMN_HEAD 6

struct column_traits {
	bool known;
	bool nullable;
};

static const struct column_traits traits[RQS_COL_LIMIT] = {
#define RQS_COLUMN_TRAITS(symbol, id, name, nulls) [id] = {true, nulls},
    RQS_COLUMNS(RQS_COLUMN_TRAITS)
#undef RQS_COLUMN_TRAITS
};

/* Durations lose what nobody can see; everything else stays exact. */
static enum rqs_encoding encoding_of(uint8_t id)
{
	switch (id) {
	case RQS_COL_TIME:
	case RQS_COL_SITE_NUMBER:
		return RQS_ENC_DELTA;
	case RQS_COL_QUEUE:
	case RQS_COL_HANDLER:
	case RQS_COL_SEND:
	case RQS_COL_CPU_TIME:
	case RQS_COL_SCHED_WAIT:
	case RQS_COL_GIL_WAIT:
	case RQS_COL_LOOP_DELAY:
	case RQS_COL_DOWNSTREAM:
	case RQS_COL_CHILDREN_CPU_TIME:
		return RQS_ENC_QUANTISED;
	default:
		return RQS_ENC_VARINT;
	}
}

void rqs_encoder_init(struct rqs_encoder *encoder)
{
	memset(encoder, 0, sizeof(*encoder));
}

void rqs_encoder_free(struct rqs_encoder *encoder)
{
	free(encoder->bytes);
	rqs_encoder_init(encoder);
}

/* Room for `more` bytes, which the caller then writes without further checks. */
static bool reserve(struct rqs_encoder *encoder, size_t more)
{
	size_t need = encoder->length + more;

	if (encoder->failed)
		return false;
	if (need <= encoder->capacity)
		return true;

	size_t capacity = encoder->capacity ? encoder->capacity : 65536;
	while (capacity < need)
		capacity *= 2;
	unsigned char *bytes = realloc(encoder->bytes, capacity);
	if (!bytes) {
		encoder->failed = true;
		return false;
	}
	encoder->bytes = bytes;
	encoder->capacity = capacity;
	return true;
}

static void put_bytes(struct rqs_encoder *encoder, const void *bytes, size_t length)
{
	memcpy(encoder->bytes + encoder->length, bytes, length);
	encoder->length += length;
}

static void put_u32(struct rqs_encoder *encoder, uint32_t value)
{
	put_bytes(encoder, &value, sizeof(value)); /* little-endian, as is every machine this runs on */
}

static inline unsigned char *put_varint(unsigned char *at, uint64_t value)
{
	while (value >= 0x80) {
		*at++ = (unsigned char)(value | 0x80);
		value >>= 7;
	}
	*at++ = (unsigned char)value;
	return at;
}

static inline uint64_t zigzag(int64_t value)
{
	return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

void rqs_encoder_begin(struct rqs_encoder *encoder, uint32_t rows)
{
	encoder->length = 0;
	encoder->failed = false;
	encoder->rows = rows;
	encoder->routes = 0;
	encoder->columns = 0;
	encoder->columns_at = 0;
	if (!reserve(encoder, 2 * sizeof(uint32_t)))
		return;
	put_u32(encoder, rows);
	put_u32(encoder, 0);
}

void rqs_encoder_route(struct rqs_encoder *encoder, uint8_t method, const char *template, uint16_t length)
{
	if (!reserve(encoder, sizeof(method) + sizeof(length) + length))
		return;
	put_bytes(encoder, &method, sizeof(method));
	put_bytes(encoder, &length, sizeof(length));
	put_bytes(encoder, template, length);
	encoder->routes++;
	memcpy(encoder->bytes + sizeof(uint32_t), &encoder->routes, sizeof(uint32_t));
}

static bool all_equal(const uint64_t *values, uint32_t rows)
{
	for (uint32_t i = 1; i < rows; i++)
		if (values[i] != values[0])
			return false;
	return true;
}

/* Null is 0 in a nullable column's varints, and the values stand one higher. */
static inline uint64_t shifted(uint64_t value, bool nullable)
{
	if (nullable)
		return value == RQS_NULL ? 0 : (value > RQS_VALUE_MAX ? RQS_VALUE_MAX : value) + 1;
	return value > RQS_VALUE_MAX ? RQS_VALUE_MAX : value;
}

static unsigned char *put_varints(unsigned char *at, const uint64_t *values, uint32_t rows, bool nullable)
{
	for (uint32_t i = 0; i < rows; i++)
		at = put_varint(at, shifted(values[i], nullable));
	return at;
}

static unsigned char *put_deltas(unsigned char *at, const uint64_t *values, uint32_t rows)
{
	uint64_t before = 0;

	for (uint32_t i = 0; i < rows; i++) {
		at = put_varint(at, zigzag((int64_t)(values[i] - before)));
		before = values[i];
	}
	return at;
}

/* High halves apart from low ones: the former repeat, and compress. */
static unsigned char *put_quantised(unsigned char *at, const uint64_t *values, uint32_t rows)
{
	for (uint32_t i = 0; i < rows; i++) {
		uint16_t code = RQS_QUANTISED_NULL;

		if (values[i] != RQS_NULL)
			code = rqs_quantise(values[i] > RQS_VALUE_MAX ? RQS_VALUE_MAX : values[i]);
		at[i] = (unsigned char)(code >> 8);
		at[rows + i] = (unsigned char)code;
	}
	return at + 2 * (size_t)rows;
}

void rqs_encoder_column(struct rqs_encoder *encoder, uint8_t id, const uint64_t *values)
{
	uint32_t rows = encoder->rows, length;
	bool nullable = traits[id].nullable, constant = all_equal(values, rows);
	enum rqs_encoding encoding = encoding_of(id);

	if (!traits[id].known || (constant && values[0] == (nullable ? RQS_NULL : 0)))
		return;
	if (constant && encoding == RQS_ENC_VARINT)
		encoding = RQS_ENC_CONSTANT;
	if (!reserve(encoder, 1 + COLUMN_HEAD + (size_t)rows * VARINT_MAX))
		return;
	if (!encoder->columns_at) {
		encoder->columns_at = encoder->length++;
		encoder->bytes[encoder->columns_at] = 0;
	}

	unsigned char *head = encoder->bytes + encoder->length, *data = head + COLUMN_HEAD, *end = data;
	switch (encoding) {
	case RQS_ENC_CONSTANT:
		end = put_varint(data, shifted(values[0], nullable));
		break;
	case RQS_ENC_VARINT:
		end = put_varints(data, values, rows, nullable);
		break;
	case RQS_ENC_DELTA:
		end = put_deltas(data, values, rows);
		break;
	case RQS_ENC_QUANTISED:
		end = put_quantised(data, values, rows);
		break;
	}
	head[0] = id;
	head[1] = (unsigned char)encoding;
	length = (uint32_t)(end - data);
	memcpy(head + 2, &length, sizeof(length));
	encoder->length = (size_t)(end - encoder->bytes);
	encoder->bytes[encoder->columns_at] = ++encoder->columns;
}

int rqs_encoder_end(struct rqs_encoder *encoder)
{
	if (!encoder->columns_at && reserve(encoder, 1))
		encoder->bytes[encoder->length++] = 0;
	if (encoder->failed)
		return -ENOMEM;
	return encoder->length > RQS_FRAME_MAX ? -EMSGSIZE : 0;
}
