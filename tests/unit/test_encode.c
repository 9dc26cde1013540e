/* test_encode.c - what the collector encodes, the reader decodes. */
#include "unit.h"

#include "collect/batch.h"
#include "collect/encode.h"
#include "collect/text.h"
#include "read/columns.h"

#include "reqscope/region.h"

#include <stdlib.h>

static struct rqs_encoder encoder;

static int set_up(void **state)
{
	(void)state;
	rqs_encoder_init(&encoder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rqs_encoder_free(&encoder);
	return 0;
}

/* The first block of a payload that ends where memory does. */
static const struct rqs_block *decode(struct rqs_columns *columns)
{
	static struct rqs_block block;
	const uint8_t *bytes = at_page_end(encoder.bytes, encoder.length);

	assert_true(rqs_columns_open(columns, bytes, encoder.length, UINT64_MAX));
	rqs_block_init(&block);
	assert_true(rqs_columns_decode(columns, &block));
	return &block;
}

/* Encodes one column alone, checks its encoding and length, and gives what is read back. */
static const uint64_t *through(uint8_t id, const uint64_t *values, uint32_t rows, int encoding, uint32_t length)
{
	static struct rqs_columns columns;
	uint32_t stored;

	rqs_encoder_begin(&encoder, rows);
	if (id == RQS_COL_ROUTE)
		rqs_encoder_route(&encoder, RQS_METHOD_GET, "/", 1);
	size_t at = encoder.length + 1;
	rqs_encoder_column(&encoder, id, values);
	assert_int_equal(rqs_encoder_end(&encoder), 0);
	if (encoding < 0) {
		assert_int_equal(encoder.bytes[at - 1], 0);
	} else {
		memcpy(&stored, encoder.bytes + at + 2, sizeof(stored));
		assert_int_equal(encoder.bytes[at], id);
		assert_int_equal(encoder.bytes[at + 1], encoding);
		assert_int_equal(stored, length);
	}
	return decode(&columns)->column[id];
}

#define CHECK_SAME(id, encoding, length, ...)                                                                          \
	do {                                                                                                           \
		const uint64_t values[] = {__VA_ARGS__};                                                               \
		const uint32_t rows = sizeof(values) / sizeof(values[0]);                                              \
		assert_memory_equal(through(id, values, rows, encoding, length), values, sizeof(values));              \
	} while (0)

static void every_encoding_reads_back(void **state)
{
	(void)state;
	CHECK_SAME(RQS_COL_TIME, RQS_ENC_DELTA, 5, 0, 63, 0, 64);
	CHECK_SAME(RQS_COL_TIME, RQS_ENC_DELTA, 1, 7);
	CHECK_SAME(RQS_COL_STATUS, RQS_ENC_CONSTANT, 2, 200, 200, 200);
	CHECK_SAME(RQS_COL_STATUS, RQS_ENC_VARINT, 5, 200, 404, 0);
	CHECK_SAME(RQS_COL_RESPONSE_BYTES, RQS_ENC_VARINT, 9, 127, RQS_VALUE_MAX);
	CHECK_SAME(RQS_COL_ALLOC_COUNT, RQS_ENC_VARINT, 4, 0, RQS_NULL, 127);
	CHECK_SAME(RQS_COL_ALLOC_COUNT, RQS_ENC_CONSTANT, 1, 0, 0);
	CHECK_SAME(RQS_COL_HANDLER, RQS_ENC_QUANTISED, 6, 0, RQS_NULL, 511);
	CHECK_SAME(RQS_COL_QUEUE, RQS_ENC_QUANTISED, 4, 100, 100);
	CHECK_SAME(RQS_COL_CHILDREN_CPU_TIME, RQS_ENC_QUANTISED, 4, 0, RQS_NULL);
	CHECK_SAME(RQS_COL_GIL_WAIT, RQS_ENC_QUANTISED, 4, 0, RQS_NULL);
	CHECK_SAME(RQS_COL_LOOP_DELAY, RQS_ENC_QUANTISED, 4, 7, RQS_NULL);
	CHECK_SAME(RQS_COL_RECV_BUFFER_BYTES, RQS_ENC_VARINT, 4, 65536, RQS_NULL);
	CHECK_SAME(RQS_COL_GC_PAUSE_TOTAL, RQS_ENC_VARINT, 4, 40000, RQS_NULL);
}

static void what_says_nothing_is_left_out(void **state)
{
	(void)state;
	CHECK_SAME(RQS_COL_FLAGS, -1, 0, 0, 0, 0);
	CHECK_SAME(RQS_COL_QUEUE, -1, 0, RQS_NULL, RQS_NULL);
	CHECK_SAME(RQS_COL_ALLOC_BYTES, -1, 0, RQS_NULL);
}

static void values_are_clamped(void **state)
{
	(void)state;
	const uint64_t sizes[] = {UINT64_MAX, 1}, allocs[] = {UINT64_MAX - 1, 1};

	assert_int_equal(through(RQS_COL_REQUEST_BYTES, sizes, 2, RQS_ENC_VARINT, 9)[0], RQS_VALUE_MAX);
	assert_int_equal(through(RQS_COL_ALLOC_BYTES, allocs, 2, RQS_ENC_VARINT, 9)[0], RQS_VALUE_MAX);
	assert_true(through(RQS_COL_HANDLER, allocs, 2, RQS_ENC_QUANTISED, 4)[0] < RQS_VALUE_MAX * 2);
}

static void quantising_errs_by_a_thousandth(void **state)
{
	(void)state;
	uint64_t values[1000], value = 1;

	for (int i = 0; i < 1000; i++, value += value / 25 + 1)
		values[i] = value < RQS_VALUE_MAX ? value : RQS_VALUE_MAX;
	const uint64_t *back = through(RQS_COL_SEND, values, 1000, RQS_ENC_QUANTISED, 2000);
	for (int i = 0; i < 1000; i++) {
		uint64_t off = back[i] > values[i] ? back[i] - values[i] : values[i] - back[i];

		assert_true(off <= values[i] >> 10);
	}
}

/* Batches */

static struct rqs_request_row row(uint64_t time, uint64_t route)
{
	return (struct rqs_request_row){.time = time,
					.route = route,
					.status = 200,
					.queue = RQS_NULL,
					.handler = time % 500,
					.send = 9,
					.alloc_count = RQS_NULL,
					.alloc_bytes = RQS_NULL};
}

static void rows_come_out_in_order_of_time(void **state)
{
	(void)state;
	static const uint64_t times[] = {5003999, 5000400, 5002000, 5000300, 5000300, 77000000};
	struct rqs_batch batch;
	struct rqs_columns columns;
	uint64_t first, last;

	assert_int_equal(rqs_batch_init(&batch, &rqs_batch_requests), 0);
	for (size_t i = 0; i < 6; i++) {
		struct rqs_request_row one = row(times[i], rqs_batch_route(&batch, (uint8_t)(i % 2), "/a", 2));

		rqs_batch_add(&batch, &one);
	}
	assert_int_equal(rqs_batch_encode(&batch, &encoder, &first, &last), 0);
	assert_int_equal(first, 5000000);
	assert_int_equal(last, 77000000);
	const struct rqs_block *block = decode(&columns);
	static const uint64_t sorted[] = {0, 0, 0, 2, 3, 72000}, routes[] = {1, 1, 0, 0, 0, 1};
	assert_int_equal(block->rows, 6);
	assert_int_equal(columns.routes, 2);
	assert_memory_equal(block->column[RQS_COL_TIME], sorted, sizeof(sorted));
	/* Rows of the same us keep their order. */
	static const uint64_t handlers[] = {400, 300, 300, 0, 499, 0};
	assert_memory_equal(block->column[RQS_COL_HANDLER], handlers, sizeof(handlers));
	assert_int_equal(block->column[RQS_COL_ROUTE][5], routes[5]);
	rqs_batch_free(&batch);
}

static void a_full_batch_of_routes_fits(void **state)
{
	(void)state;
	struct rqs_batch batch;
	struct rqs_columns columns;
	uint64_t first, last;
	char text[RQS_ROUTE_MAX];

	assert_int_equal(rqs_batch_init(&batch, &rqs_batch_requests), 0);
	memset(text, 'x', sizeof(text));
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < RQS_BATCH_ROWS; i++) {
			snprintf(text, 12, "/%010u", (unsigned)i);
			text[11] = 'x';
			struct rqs_request_row one =
			    row(1000 + i, rqs_batch_route(&batch, RQS_METHOD_GET, text, sizeof(text)));

			assert_int_equal(one.route, i);
			rqs_batch_add(&batch, &one);
		}
		assert_true(rqs_batch_is_full(&batch));
		assert_int_equal(rqs_batch_encode(&batch, &encoder, &first, &last), 0);
		assert_true(rqs_columns_open(&columns, encoder.bytes, encoder.length, UINT64_MAX));
		assert_int_equal(columns.routes, RQS_BATCH_ROWS);
		rqs_batch_clear(&batch);
	}
	rqs_batch_free(&batch);
}

static const struct {
	const char *raw, *clean;
} texts[] = {
    {"/users/{}", "/users/{}"},
    {"", ""},
    {"a\tb\x7f\n", "a?b??"},
    {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
    {"\xc3", "?"},
    {"\xc3(", "?("},
    {"\xc0\xaf", "??"},
    {"\xe0\x80\xaf", "???"},
    {"\xed\xa0\x80", "???"},
    {"\xf4\x90\x80\x80", "????"},
    {"\xc2\x9b", "??"},
    {"\xff\xfe", "??"},
    {"\xe2\x82", "??"},
};

static void text_becomes_printable(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t length = strlen(texts[i].raw);
		char *copy = (char *)(uintptr_t)at_page_end(texts[i].raw, length);

		rqs_make_printable(copy, length);
		assert_int_equal(length, strlen(texts[i].clean));
		assert_memory_equal(copy, texts[i].clean, length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_encoding_reads_back),
	    cmocka_unit_test(what_says_nothing_is_left_out),
	    cmocka_unit_test(values_are_clamped),
	    cmocka_unit_test(quantising_errs_by_a_thousandth),
	    cmocka_unit_test(rows_come_out_in_order_of_time),
	    cmocka_unit_test(a_full_batch_of_routes_fits),
	    cmocka_unit_test(text_becomes_printable),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
