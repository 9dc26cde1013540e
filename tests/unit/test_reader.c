/* test_reader.c - whole frames, damage and resynchronising, on a buffer at the end of memory. */
#define XXH_INLINE_ALL
#include "unit.h"

#include "read/reader.h"

#include <stdlib.h>
#include <xxhash.h>

static uint8_t file[1 << 16];
static size_t length;

static size_t add_frame(uint8_t type, const char *payload)
{
	size_t at = length;
	struct rqs_frame_header h = {
	    .magic = RQS_FRAME_MAGIC, .type = type, .version = 1, .first_time = 5, .last_time = 9};

	h.raw_length = (uint32_t)strlen(payload);
	h.stored_length =
	    (uint32_t)ZSTD_compress(file + at + sizeof(h), sizeof(file) - at - sizeof(h), payload, h.raw_length, 1);
	memcpy(file + at, &h, sizeof(h));
	XXH64_state_t hash;
	XXH64_reset(&hash, 0);
	XXH64_update(&hash, file + at, 32);
	XXH64_update(&hash, file + at + sizeof(h), h.stored_length);
	h.checksum = XXH64_digest(&hash);
	memcpy(file + at, &h, sizeof(h));
	length += sizeof(h) + h.stored_length;
	return at;
}

/* The offset behind the frame at an offset. */
static size_t behind(size_t at)
{
	struct rqs_frame_header h;

	memcpy(&h, file + at, sizeof(h));
	return at + sizeof(h) + h.stored_length;
}

/* What a reader makes of the first `size` bytes: 'F' a frame, 'P' one whose payload is bad, 'D' damage. */
static const char *read_all(size_t size, uint64_t *first_damage)
{
	static char found[256];
	struct rqs_reader r;
	struct rqs_frame frame;
	struct rqs_damage damage;
	enum rqs_read_result what;
	size_t n = 0;

	rqs_reader_open_buffer(&r, at_page_end(file, size), size);
	while ((what = rqs_reader_next(&r, &frame, &damage)) != RQS_READ_END && n < sizeof(found) - 1) {
		if (what == RQS_READ_DAMAGE && first_damage && !memchr(found, 'D', n))
			*first_damage = damage.offset;
		found[n++] = what == RQS_READ_DAMAGE ? 'D' : rqs_reader_payload(&r, &frame, &damage) ? 'F' : 'P';
	}
	found[n] = 0;
	rqs_reader_close(&r);
	return found;
}

static void make_file(void)
{
	length = 0;
	add_frame(1, "{\"run\":1}");
	add_frame(3, "some columns, and some more of them");
	add_frame(6, "{}");
}

static void whole_frames_come_back(void **unused)
{
	struct rqs_reader r;
	struct rqs_frame frame;
	struct rqs_damage damage;

	(void)unused;
	make_file();
	rqs_reader_open_buffer(&r, file, length);
	for (int pass = 0; pass < 2; pass++) {
		assert_int_equal(rqs_reader_next(&r, &frame, &damage), RQS_READ_FRAME);
		assert_int_equal(frame.offset, 0);
		assert_int_equal(rqs_reader_next(&r, &frame, &damage), RQS_READ_FRAME);
		assert_int_equal(frame.header.type, 3);
		assert_memory_equal(rqs_reader_payload(&r, &frame, &damage), "some columns", 12);
		assert_int_equal(rqs_reader_next(&r, &frame, &damage), RQS_READ_FRAME);
		assert_int_equal(rqs_reader_next(&r, &frame, &damage), RQS_READ_END);
		rqs_reader_release(&r);
		rqs_reader_rewind(&r);
	}
	rqs_reader_close(&r);
}

static void every_cut_is_damage_but_between_frames(void **unused)
{
	(void)unused;
	make_file();
	size_t second = behind(0);
	for (size_t cut = 1; cut < length; cut++) {
		const char *found = read_all(cut, NULL);

		if (cut == second)
			assert_string_equal(found, "F");
		else if (cut < second)
			assert_string_equal(found, "D");
		else if (found[strlen(found) - 1] != 'D')
			assert_string_equal(found, "FF");
	}
}

static void every_changed_byte_costs_one_frame(void **unused)
{
	(void)unused;
	make_file();
	size_t second = behind(0);
	size_t end = behind(second);
	for (size_t at = second; at < end; at++)
		for (int bit = 0; bit < 8; bit++) {
			uint64_t where = 0;

			file[at] ^= (uint8_t)(1 << bit);
			assert_string_equal(read_all(length, &where), "FDF");
			assert_int_equal(where, second);
			file[at] ^= (uint8_t)(1 << bit);
		}
}

static void a_magic_inside_of_garbage_is_not_a_frame(void **unused)
{
	uint64_t where = 0;

	(void)unused;
	length = 0;
	add_frame(1, "{}");
	size_t garbage = length;
	for (int i = 0; i < 500; i++, length += 5)
		memcpy(file + length, "RQSF\1", 5);
	add_frame(6, "{}");
	assert_string_equal(read_all(length, &where), "FDF");
	assert_int_equal(where, garbage);
}

static void a_magic_across_the_search_window_is_found(void **unused)
{
	(void)unused;
	/* The search reads 65,536 bytes at a time, from byte 1 on: the magic begins in one window and ends in the next.
	 */
	static uint8_t big[70000 + 200];
	struct rqs_reader r;
	struct rqs_frame frame;
	struct rqs_damage damage;

	make_file();
	for (size_t at = 65530; at < 65545; at++) {
		memset(big, 'x', sizeof(big));
		memcpy(big + at, file, length);
		rqs_reader_open_buffer(&r, big, at + length);
		assert_int_equal(rqs_reader_next(&r, &frame, &damage), RQS_READ_DAMAGE);
		assert_int_equal(rqs_reader_next(&r, &frame, &damage), RQS_READ_FRAME);
		assert_int_equal(frame.offset, at);
		rqs_reader_close(&r);
	}
}

static void nothing_is_nothing(void **unused)
{
	(void)unused;
	assert_string_equal(read_all(0, NULL), "");
	memset(file, 'R', 3000);
	assert_string_equal(read_all(3000, NULL), "D");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole_frames_come_back),
	    cmocka_unit_test(every_cut_is_damage_but_between_frames),
	    cmocka_unit_test(every_changed_byte_costs_one_frame),
	    cmocka_unit_test(a_magic_inside_of_garbage_is_not_a_frame),
	    cmocka_unit_test(a_magic_across_the_search_window_is_found),
	    cmocka_unit_test(nothing_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
