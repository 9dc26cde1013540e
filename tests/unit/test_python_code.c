/* test_python_code.c - code objects of CPython: their lines as the interpreters themselves give them, damaged records. */
#include "unit.h"

#include "unwind/python_code.h"

#include <glob.h>
#include <stdlib.h>

#define SCRIPT "tests/tools/code_records.py"

static union {
	struct rqs_code_record record;
	unsigned char bytes[UINT16_MAX];
} taken;

static void read_all(FILE *from, void *to, size_t n)
{
	assert_int_equal(fread(to, 1, n, from), n);
}

/* How many instructions have been compared for a code object; 0: that was the last one. */
static uint32_t compare_one(struct rqs_python_codes *codes, FILE *from)
{
	static int32_t lines[1 << 20];
	struct rqs_python_place place;
	uint32_t count;

	read_all(from, &taken.record.size, 2);
	if (!taken.record.size)
		return 0;
	read_all(from, taken.bytes + 2, taken.record.size - 2u);
	assert_true(rqs_python_codes_take(codes, &taken.record, taken.record.size));
	read_all(from, &count, sizeof(count));
	assert_in_range(count, 1, sizeof(lines) / sizeof(lines[0]));
	read_all(from, lines, count * sizeof(lines[0]));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t entry = i % 2 ? RQS_FRAME_ENTRY : 0;

		assert_true(rqs_python_codes_frame(codes, taken.record.number, 2 * i | entry, &place));
		if (place.line != (uint32_t)lines[i])
			print_error("%s of %s, at %u\n", place.function, place.file, 2 * i);
		assert_int_equal(place.line, lines[i]);
	}
	return count;
}

static void compare_with(const char *python)
{
	char command[512];
	uint64_t compared = 0;
	struct rqs_python_codes *codes = rqs_python_codes_new();

	snprintf(command, sizeof(command), "%s -S " SCRIPT, python);
	FILE *from = popen(command, "r");
	assert_non_null(from);
	for (uint32_t n; (n = compare_one(codes, from)) != 0;)
		compared += n;
	assert_int_equal(pclose(from), 0);
	print_message("%s: %llu instructions\n", python, (unsigned long long)compared);
	assert_in_range(compared, 30000, UINT32_MAX);
	rqs_python_codes_free(codes);
}

static void lines_are_the_interpreters(void **state)
{
	const char *home = getenv("HOME");
	char pattern[512];
	glob_t others = {0};

	(void)state;
	compare_with("python3");
	snprintf(pattern, sizeof(pattern), "%s/.pyenv/versions/3.*/bin/python3", home ? home : "");
	glob(pattern, 0, NULL, &others);
	for (size_t i = 0; i < others.gl_pathc; i++)
		if (!strstr(others.gl_pathv[i], "/3.6.") && !strstr(others.gl_pathv[i], "/3.7."))
			compare_with(others.gl_pathv[i]);
	globfree(&others);
}

/* ---- records made by hand ---- */

static size_t make_record(uint32_t number, const void *file, uint16_t file_bytes, uint8_t width, const char *name)
{
	struct rqs_code_record *record = &taken.record;

	memset(&taken, 0, sizeof(taken));
	record->type = RQS_RECORD_CODE;
	record->number = number;
	record->first_line = 7;
	record->table_kind = RQS_LINES_LOCATIONS;
	record->file_bytes = file_bytes;
	record->file_width = width;
	record->name_bytes = (uint16_t)strlen(name);
	record->name_width = 1;
	record->table_bytes = 2;
	memcpy(record->data, file, file_bytes);
	memcpy(record->data + file_bytes, name, record->name_bytes);
	/* Four instructions without columns, one line on. */
	memcpy(record->data + file_bytes + record->name_bytes, "\xeb\x02", 2);
	return sizeof(*record) + file_bytes + record->name_bytes + 2u;
}

static void texts_are_utf8(void **state)
{
	static const uint16_t two[] = {'a', 0x4e2d, 0xd800, 0};
	static const uint32_t four[] = {0x1f600, 0x110000, 'z'};
	struct rqs_python_codes *codes = rqs_python_codes_new();
	struct rqs_python_place place;

	(void)state;
	assert_true(rqs_python_codes_take(codes, &taken.record, make_record(1, two, sizeof(two), 2, "f\xe9")));
	assert_true(rqs_python_codes_take(codes, &taken.record, make_record(300, four, sizeof(four), 4, "")));
	assert_true(rqs_python_codes_frame(codes, 1, 2, &place));
	assert_string_equal(place.file, "a\xe4\xb8\xad\xef\xbf\xbd\xef\xbf\xbd");
	assert_string_equal(place.function, "f\xc3\xa9");
	assert_int_equal(place.line, 8);
	assert_true(rqs_python_codes_frame(codes, 300, 8, &place));
	assert_string_equal(place.file, "\xf0\x9f\x98\x80\xef\xbf\xbdz");
	assert_string_equal(place.function, "");
	assert_int_equal(place.line, 0); /* behind the last instruction */
	rqs_python_codes_free(codes);
}

static void what_is_unknown_has_no_place(void **state)
{
	struct rqs_python_codes *codes = rqs_python_codes_new();
	struct rqs_python_place place;

	(void)state;
	assert_false(rqs_python_codes_frame(codes, 0, 0, &place));
	assert_true(rqs_python_codes_take(codes, &taken.record, make_record(2, "x", 1, 1, "f")));
	assert_false(rqs_python_codes_frame(codes, 0, 0, &place));
	assert_false(rqs_python_codes_frame(codes, 1, 0, &place));
	/* A number is never another's. */
	assert_false(rqs_python_codes_take(codes, &taken.record, make_record(2, "y", 1, 1, "g")));
	assert_true(rqs_python_codes_frame(codes, 2, 0, &place));
	assert_string_equal(place.function, "f");
	assert_false(rqs_python_codes_take(codes, &taken.record, make_record(0, "x", 1, 1, "f")));
	assert_false(rqs_python_codes_take(codes, &taken.record, make_record(RQS_PYTHON_CODES + 1, "x", 1, 1, "f")));
	rqs_python_codes_free(codes);
}

static void codes_without_end_are_bounded(void **state)
{
	static const char file[RQS_CODE_TEXT];
	struct rqs_python_codes *codes = rqs_python_codes_new();
	struct rqs_python_place place;
	uint32_t number = 0;

	(void)state;
	do
		assert_true(rqs_python_codes_take(codes, &taken.record, make_record(++number, file, sizeof(file), 1, "f")));
	while (rqs_python_codes_frame(codes, number, 0, &place) && *place.file);
	assert_in_range(number, RQS_PYTHON_CODE_BYTES / 4096, RQS_PYTHON_CODES / 2);
	assert_string_equal(place.function, "(too many code objects)");
	assert_int_equal(place.line, 0);
	assert_true(rqs_python_codes_frame(codes, number - 1, 0, &place));
	assert_string_equal(place.function, "f");
	/* Nobody has to look for what isn't kept. */
	assert_true(rqs_python_codes_frame(codes, UINT32_MAX, 0, &place));
	assert_string_equal(place.function, "(too many code objects)");
	rqs_python_codes_free(codes);
}

/* With what makes it aligned behind it. */
static const struct rqs_code_record *at_end(size_t n)
{
	return (const void *)at_page_end(&taken, (n + 7) & ~(size_t)7);
}

static void cut_records_are_refused(void **state)
{
	struct rqs_python_codes *codes = rqs_python_codes_new();
	size_t size = make_record(1, "file", 4, 1, "name");

	(void)state;
	for (size_t n = 0; n < size; n++)
		assert_false(rqs_python_codes_take(codes, at_end(n), n));
	assert_true(rqs_python_codes_take(codes, at_end(size), size));
	rqs_python_codes_free(codes);
}

/* Any bytes at all are read without harm; the sanitizers' build looks at how. */
static void any_table_is_read(void **state)
{
	static const uint8_t kinds[] = {RQS_LINES_NONE, RQS_LINES_LNOTAB, RQS_LINES_310, RQS_LINES_LOCATIONS, 77};
	struct rqs_python_codes *codes = rqs_python_codes_new();
	struct rqs_python_place place;
	uint32_t random = 1;

	(void)state;
	for (uint32_t number = 1; number < 5000; number++) {
		size_t size = make_record(number, "f", 1, 1, "n") - 2;
		struct rqs_code_record *record = &taken.record;

		record->table_kind = kinds[number % 5];
		record->table_bytes = (uint16_t)(number % 64);
		for (uint16_t i = 0; i < record->table_bytes; i++) {
			random = random * 1103515245 + 12345;
			taken.bytes[size + i] = (unsigned char)(random >> 16);
		}
		size += record->table_bytes;
		assert_true(rqs_python_codes_take(codes, at_end(size), size));
		for (uint32_t offset = 0; offset < 600; offset += 2)
			assert_true(rqs_python_codes_frame(codes, number, offset, &place));
		assert_true(rqs_python_codes_frame(codes, number, UINT32_MAX, &place));
	}
	rqs_python_codes_free(codes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_are_the_interpreters), cmocka_unit_test(texts_are_utf8),
	    cmocka_unit_test(what_is_unknown_has_no_place), cmocka_unit_test(cut_records_are_refused),
	    cmocka_unit_test(codes_without_end_are_bounded),
	    cmocka_unit_test(any_table_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
