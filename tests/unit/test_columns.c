/* test_columns.c - decoding, at the end of memory. Bad payloads in full: tests/cli/test_bad_files.py. */
#include "unit.h"

#include "read/columns.h"

#include <stdlib.h>

static struct rqs_block block;

struct payload {
	uint8_t bytes[1 << 18];
	size_t length;
	size_t columns_at;
};

static void put(struct payload *p, const void *bytes, size_t n)
{
	assert_true(p->length + n <= sizeof(p->bytes));
	memcpy(p->bytes + p->length, bytes, n);
	p->length += n;
}

static void put_u32(struct payload *p, uint32_t v)
{
	put(p, &v, sizeof(v));
}

static void begin(struct payload *p, uint32_t rows)
{
	p->length = 0;
	put_u32(p, rows);
	put_u32(p, 2);
	put(p, "\0\2\0/a", 5);
	put(p, "\377\3\0/bc", 6);
	p->columns_at = p->length;
	put(p, "\0", 1);
}

static void add_column(struct payload *p, uint8_t id, uint8_t encoding, const void *bytes, size_t n)
{
	put(p, &id, 1);
	put(p, &encoding, 1);
	put_u32(p, (uint32_t)n);
	put(p, bytes, n);
	p->bytes[p->columns_at]++;
}

static bool open(struct rqs_columns *c, const struct payload *p)
{
	return rqs_columns_open(c, at_page_end(p->bytes, p->length), p->length, UINT64_MAX);
}

/* Decodes all rows of a payload of which it is known that it is bad or good. */
static uint32_t decode_all(const uint8_t *bytes, size_t length, const char **error)
{
	struct rqs_columns c;
	const char *text;
	uint16_t template;
	uint8_t method;
	uint32_t rows = 0;

	if (rqs_columns_open(&c, at_page_end(bytes, length), length, UINT64_MAX)) {
		while (rqs_columns_route(&c, &method, &text, &template))
			for (uint16_t i = 0; i < template; i++)
				assert_in_range((uint8_t)text[i], 0, 255);
		while (rqs_columns_decode(&c, &block))
			rows += block.rows;
	}
	*error = c.error;
	return rows;
}

static void small_values_of_all_encodings(void **unused)
{
	static struct payload p;
	struct rqs_columns c;
	const char *text;
	uint16_t length;
	uint8_t method;

	(void)unused;
	begin(&p, 3);
	add_column(&p, RQS_COL_TIME, RQS_ENC_DELTA, "\x0a\x05\x80\x01", 4); /* 5, 5 - 3, + 64 */
	add_column(&p, RQS_COL_STATUS, RQS_ENC_CONSTANT, "\xc8\x01", 2);    /* 200 */
	add_column(&p, RQS_COL_ROUTE, RQS_ENC_VARINT, "\1\0\1", 3);
	add_column(&p, RQS_COL_ALLOC_COUNT, RQS_ENC_VARINT, "\0\1\xff\xff\3", 5);  /* null, 0, 65534 */
	add_column(&p, RQS_COL_QUEUE, RQS_ENC_QUANTISED, "\0\xff\x04\7\xff\1", 6); /* 7, null, code 1025 */
	add_column(&p, 200, 99, "future", 6);
	assert_true(open(&c, &p));
	assert_true(rqs_columns_route(&c, &method, &text, &length));
	assert_int_equal(method, RQS_METHOD_GET);
	assert_memory_equal(text, "/a", 2);
	assert_true(rqs_columns_route(&c, &method, &text, &length));
	assert_int_equal(method, RQS_METHOD_OTHER);
	assert_int_equal(length, 3);
	assert_false(rqs_columns_route(&c, &method, &text, &length));

	assert_true(rqs_columns_decode(&c, &block));
	assert_int_equal(block.rows, 3);
	static const struct {
		uint8_t id;
		uint64_t value[3];
	} want[] = {
	    {RQS_COL_TIME, {5, 2, 66}},           {RQS_COL_STATUS, {200, 200, 200}},
	    {RQS_COL_ROUTE, {1, 0, 1}},           {RQS_COL_ALLOC_COUNT, {RQS_NULL, 0, 65534}},
	    {RQS_COL_QUEUE, {7, RQS_NULL, 1027}}, {RQS_COL_HANDLER, {RQS_NULL, RQS_NULL, RQS_NULL}},
	    {RQS_COL_FLAGS, {0, 0, 0}},
	};
	for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		for (int row = 0; row < 3; row++)
			assert_int_equal(block.column[want[i].id][row], want[i].value[row]);
	assert_false(rqs_columns_decode(&c, &block));
	assert_null(c.error);
}

static void absent_columns_are_reset_in_a_reused_block(void **unused)
{
	static struct payload p;
	struct rqs_columns c;

	(void)unused;
	begin(&p, 1);
	add_column(&p, RQS_COL_SEND, RQS_ENC_CONSTANT, "\5", 1);
	add_column(&p, RQS_COL_FLAGS, RQS_ENC_CONSTANT, "\1", 1);
	assert_true(open(&c, &p) && rqs_columns_decode(&c, &block));
	assert_int_equal(block.column[RQS_COL_SEND][0], 4);
	begin(&p, 1);
	assert_true(open(&c, &p) && rqs_columns_decode(&c, &block));
	assert_int_equal(block.column[RQS_COL_SEND][0], RQS_NULL);
	assert_int_equal(block.column[RQS_COL_FLAGS][0], 0);
}

/* Every code decodes as the header says, whatever the block's borders. */
static void quantised_codes_agree_with_the_format(void **unused)
{
	enum { ROWS = 27136 }; /* the codes of values below 2^61 */
	static uint8_t halves[2 * ROWS];
	static struct payload p;
	struct rqs_columns c;
	uint32_t code = 0;

	(void)unused;
	for (uint32_t i = 0; i < ROWS; i++) {
		halves[i] = (uint8_t)(i >> 8);
		halves[ROWS + i] = (uint8_t)i;
	}
	begin(&p, ROWS);
	add_column(&p, RQS_COL_HANDLER, RQS_ENC_QUANTISED, halves, sizeof(halves));
	assert_true(open(&c, &p));
	while (rqs_columns_decode(&c, &block))
		for (uint32_t i = 0; i < block.rows; i++, code++) {
			uint64_t v = block.column[RQS_COL_HANDLER][i];

			assert_int_equal(v, rqs_dequantise((uint16_t)code));
			assert_int_equal(rqs_quantise(v), code);
			assert_true(v < 1ull << 61);
		}
	assert_int_equal(code, ROWS);
	assert_null(c.error);
}

static size_t put_varint(uint8_t *to, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		to[n++] = (uint8_t)(v | 0x80);
	to[n++] = (uint8_t)v;
	return n;
}

/* Varints of all lengths in any mixture, so that the fast paths meet the slow one. */
static void varints_of_all_lengths(void **unused)
{
	enum { ROWS = 5000 };
	static uint8_t bytes[ROWS * 10];
	static uint64_t want[ROWS];
	static struct payload p;
	struct rqs_columns c;
	size_t n = 0;
	uint32_t row = 0;

	(void)unused;
	srand(1);
	for (uint32_t i = 0; i < ROWS; i++) {
		want[i] = (uint64_t)rand() << 33 ^ (uint64_t)rand();
		want[i] >>= i % 100 < 50 ? 58 : (unsigned)rand() % 64;
		n += put_varint(bytes + n, want[i]);
	}
	want[ROWS - 1] = UINT64_MAX;
	n -= 1;
	while (n && bytes[n - 1] & 0x80)
		n--;
	n += put_varint(bytes + n, UINT64_MAX);
	begin(&p, ROWS);
	add_column(&p, RQS_COL_REQUEST_BYTES, RQS_ENC_VARINT, bytes, n);
	assert_true(open(&c, &p));
	while (rqs_columns_decode(&c, &block))
		for (uint32_t i = 0; i < block.rows; i++, row++)
			assert_int_equal(block.column[RQS_COL_REQUEST_BYTES][i], want[row]);
	assert_null(c.error);
	assert_int_equal(row, ROWS);
}

static void make_mixed(struct payload *p)
{
	begin(p, 40);
	uint8_t bytes[80];

	memset(bytes, 2, sizeof(bytes));
	add_column(p, RQS_COL_TIME, RQS_ENC_DELTA, bytes, 40);
	memset(bytes, 1, sizeof(bytes));
	add_column(p, RQS_COL_ROUTE, RQS_ENC_VARINT, bytes, 40);
	add_column(p, RQS_COL_HANDLER, RQS_ENC_QUANTISED, bytes, 80);
	add_column(p, RQS_COL_STATUS, RQS_ENC_CONSTANT, "\xc8\x01", 2);
}

static void every_cut_is_noticed(void **unused)
{
	static struct payload p;
	const char *error;

	(void)unused;
	make_mixed(&p);
	assert_int_equal(decode_all(p.bytes, p.length, &error), 40);
	assert_null(error);
	for (size_t cut = 0; cut < p.length; cut++) {
		decode_all(p.bytes, cut, &error);
		assert_non_null(error);
	}
}

/* Whatever a byte is changed to, nothing is read or written out of bounds, and values stay in range. */
static void every_changed_byte_is_survived(void **unused)
{
	static struct payload p;
	const char *error;

	(void)unused;
	make_mixed(&p);
	for (size_t at = 0; at < p.length; at++)
		for (unsigned v = 0; v < 256; v++) {
			uint8_t was = p.bytes[at];

			p.bytes[at] = (uint8_t)v;
			decode_all(p.bytes, p.length, &error);
			p.bytes[at] = was;
			for (uint32_t i = 0; i < block.rows && !error; i++) {
				assert_in_range(block.column[RQS_COL_STATUS][i], 0, 999);
				assert_in_range(block.column[RQS_COL_PROCESS][i], 0, 65535);
			}
		}
}

static int prepare(void **unused)
{
	(void)unused;
	rqs_block_init(&block);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(small_values_of_all_encodings),
	    cmocka_unit_test(absent_columns_are_reset_in_a_reused_block),
	    cmocka_unit_test(quantised_codes_agree_with_the_format),
	    cmocka_unit_test(varints_of_all_lengths),
	    cmocka_unit_test(every_cut_is_noticed),
	    cmocka_unit_test(every_changed_byte_is_survived),
	};

	return cmocka_run_group_tests(tests, prepare, NULL);
}
