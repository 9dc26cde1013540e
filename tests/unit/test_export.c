/* test_export.c - the pieces that exports are made of: Thrift, protocol buffers, packed bits, buckets in seconds. */
#include "unit.h"

#include "base/intern.h"
#include "export/outcomes.h"
#include "export/parquet_column.h"
#include "export/protobuf.h"
#include "export/thrift.h"

#include <math.h>

static void assert_bytes(struct rqs_bytes *b, const void *want, size_t length)
{
	assert_int_equal(b->length, length);
	assert_memory_equal(b->at, want, length);
	rqs_bytes_free(b);
}

/* By hand from doc/specs/thrift-compact-protocol.md. */
static void thrift_is_compact(void **unused)
{
	static const uint8_t want[] = {
	    0x15, 0x03,                               /* field 1, i32 -2 */
	    0x08, 0x64, 0x02, 'o',  'k',              /* field 50: too far for a step; a binary */
	    0x1c, 0x11, 0x12, 0x00,                   /* field 51, a struct: true, false */
	    0x19, 0x2c, 0x00, 0x16, 0xac, 0x02, 0x00, /* field 52, a list of two structs: empty, i64 150 */
	    0x19, 0xf5, 0x0f,                         /* field 53, a list of 15 */
	    0x00,
	};
	struct rqs_bytes b = {0};
	struct rqs_thrift t;

	(void)unused;
	rqs_thrift_start(&t, &b);
	rqs_thrift_int(&t, 1, RQS_THRIFT_I32, -2);
	rqs_thrift_text(&t, 50, "ok");
	rqs_thrift_begin(&t, 51);
	rqs_thrift_bool(&t, 1, true);
	rqs_thrift_bool(&t, 2, false);
	rqs_thrift_end(&t);
	rqs_thrift_list(&t, 52, RQS_THRIFT_STRUCT, 2);
	rqs_thrift_begin(&t, 0);
	rqs_thrift_end(&t);
	rqs_thrift_begin(&t, 0);
	rqs_thrift_int(&t, 1, RQS_THRIFT_I64, 150);
	rqs_thrift_end(&t);
	rqs_thrift_list(&t, 53, RQS_THRIFT_I32, 15);
	rqs_thrift_end(&t);
	assert_bytes(&b, want, sizeof(want));
}

/* The examples of protobuf.dev/programming-guides/encoding. */
static void protobuf_is_as_documented(void **unused)
{
	static const uint8_t want[] = {
	    0x08, 0x96, 0x01,                                    /* field 1: 150 */
	    0x12, 0x07, 't',  'e',  's',  't',  'i',  'n',  'g', /* field 2, a text */
	    0x1a, 0x03, 0x08, 0x96, 0x01,                        /* field 3, a message of the first */
	    0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05,      /* field 6: 3, 270, 86942, packed */
	    0x82, 0x01, 0x00,                                    /* field 16, an empty text */
	};
	struct rqs_bytes b = {0}, part = {0};

	(void)unused;
	rqs_protobuf_number(&b, 1, 150);
	rqs_protobuf_number(&b, 1, 0); /* nothing */
	rqs_protobuf_bytes(&b, 2, "testing", 7);
	rqs_protobuf_number(&part, 1, 150);
	rqs_protobuf_message(&b, 3, &part);
	rqs_bytes_put_varint(&part, 3);
	rqs_bytes_put_varint(&part, 270);
	rqs_bytes_put_varint(&part, 86942);
	rqs_protobuf_message(&b, 6, &part);
	rqs_protobuf_message(&b, 16, &part);
	rqs_bytes_free(&part);
	assert_bytes(&b, want, sizeof(want));
}

static void interned_bytes_keep_their_numbers(void **unused)
{
	struct rqs_intern t = {0};
	size_t length;

	(void)unused;
	assert_int_equal(rqs_intern_text(&t, ""), 0);
	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 10000; i++)
			assert_int_equal(rqs_intern(&t, &i, sizeof(i)), i + 1);
	assert_int_equal(rqs_intern_text(&t, ""), 0);
	assert_int_equal(t.count, 10001);
	for (uint32_t i = 0; i < 10000; i++) {
		assert_memory_equal(rqs_interned(&t, i + 1, &length), &i, sizeof(i));
		assert_int_equal(length, sizeof(i));
	}
	rqs_intern_free(&t);
}

/* The index of v's bucket in seconds, by the definition, where floating point is far from a bound. */
static int index_by_logarithm(uint64_t ns, double *distance)
{
	double exact = log2((double)ns / 1e9) * RQS_BUCKETS_PER_OCTAVE;

	*distance = fabs(exact - round(exact));
	return (int)ceil(exact) - 1;
}

static int index_of(uint64_t ns)
{
	return (int)rqs_seconds_bucket(ns) - 1 - RQS_SECOND_BITS * RQS_BUCKETS_PER_OCTAVE;
}

static void buckets_in_seconds_are_exact(void **unused)
{
	double distance;

	(void)unused;
	for (uint64_t ns = 1; ns < 3000000; ns++) {
		int want = index_by_logarithm(ns, &distance);

		if (distance > 1e-9)
			assert_int_equal(index_of(ns), want);
	}
	for (uint64_t ns = 3000000; ns < 1ull << 52; ns += ns / 5001) {
		int want = index_by_logarithm(ns, &distance);

		if (distance > 1e-6)
			assert_int_equal(index_of(ns), want);
	}
	assert_int_equal(index_of(1000000000), -1); /* 1 s is the upper bound of its bucket */
	assert_int_equal(index_of(1000000001), 0);
	assert_int_equal(index_of(500000000), -RQS_BUCKETS_PER_OCTAVE - 1);
	assert_int_equal(rqs_seconds_bucket(UINT64_MAX), RQS_BUCKET_LIMIT - 1);
}

/* One page of a column: its body before compression, levels included. */
static struct rqs_bytes page_body(const struct rqs_field *field, const uint64_t *value, uint32_t count)
{
	static struct rqs_parquet_column c;
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	struct rqs_bytes body;

	memset(&c, 0, sizeof(c));
	c.field = field;
	memcpy(rqs_parquet_column_room(&c), value, count * sizeof(*value));
	c.waiting = count;
	rqs_parquet_column_page(&c, zstd);
	body = c.body;
	c.body = (struct rqs_bytes){0};
	rqs_parquet_column_free(&c);
	ZSTD_freeCCtx(zstd);
	return body;
}

static void pages_have_levels_and_values(void **unused)
{
	static const struct rqs_field number = {"n", RQS_FIELD_NUMBER, true}, flag = {"f", RQS_FIELD_FLAG, false};
	static const struct rqs_field text = {"t", RQS_FIELD_TEXT, true};
	const uint64_t mixed[] = {5, RQS_NULL, 6}, none[] = {RQS_NULL, RQS_NULL}, flags[] = {1, 0, 0, 1, 0, 0, 0, 0, 1};
	const uint64_t texts[] = {70, 3, 70, RQS_NULL, 9};
	static const uint8_t mixed_body[] = {2, 0, 0, 0, 3, 5, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t none_body[] = {2, 0, 0, 0, 4, 0}, flags_body[] = {9, 1};
	/* Places 0, 1, 0, 2 in two bits each. */
	static const uint8_t texts_body[] = {2, 0, 0, 0, 3, 0x17, 2, 3, 0x84, 0};
	struct rqs_bytes body;

	(void)unused;
	body = page_body(&number, mixed, 3);
	assert_bytes(&body, mixed_body, sizeof(mixed_body));
	body = page_body(&number, none, 2);
	assert_bytes(&body, none_body, sizeof(none_body));
	body = page_body(&flag, flags, 9);
	assert_bytes(&body, flags_body, sizeof(flags_body));
	body = page_body(&text, texts, 5);
	assert_bytes(&body, texts_body, sizeof(texts_body));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(thrift_is_compact),
	    cmocka_unit_test(protobuf_is_as_documented),
	    cmocka_unit_test(interned_bytes_keep_their_numbers),
	    cmocka_unit_test(buckets_in_seconds_are_exact),
	    cmocka_unit_test(pages_have_levels_and_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
