/* test_stack_table.c - stacks to numbers, and what a reader gets of them. */
#include "unit.h"

#include "collect/stack_table.h"
#include "reqscope/trace_format.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

/* What readers take (analyzer/read/scan.c). */
#define JSON_MAX (4u << 20)
#define JSON_VALUES_MAX 500000u

static struct rqs_stack_table *table;
/* As a reader has them, by number. */
static cJSON *pieces;
static const cJSON *frames[RQS_STACK_FRAMES_MAX + 1];
static uint32_t callers[RQS_STACKS_MAX + 2], own[RQS_STACKS_MAX + 2];
static uint32_t frame_count, stack_count;

static int set_up(void **state)
{
	(void)state;
	table = rqs_stack_table_new();
	assert_non_null(table);
	pieces = cJSON_CreateArray();
	frame_count = stack_count = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rqs_stack_table_free(table);
	cJSON_Delete(pieces);
	return 0;
}

static struct rqs_code_frame frame(const char *function, const char *file, uint32_t line)
{
	return (struct rqs_code_frame){.function = function, .file = file, .line = line, .module = "server"};
}

static int number_in(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key)->valueint;
}

static void assert_text(uint32_t number, const char *key, const char *text)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(frames[number], key);

	if (text)
		assert_string_equal(cJSON_GetStringValue(item), text);
	else
		assert_null(item);
}

/* Takes in a piece as a reader does; everything must come in order. */
static void read_piece(const struct rqs_stack_piece *piece)
{
	unsigned values = 0;
	const cJSON *item;

	assert_in_range(strlen(piece->text), 1, JSON_MAX);
	for (const char *c = piece->text; *c; c++)
		values += *c == ',' || *c == '[' || *c == '{';
	assert_in_range(values, 1, JSON_VALUES_MAX);
	cJSON *object = cJSON_Parse(piece->text);
	assert_non_null(object);
	cJSON_AddItemToArray(pieces, object);
	assert_int_equal(number_in(object, "first_frame"), frame_count);
	assert_int_equal(number_in(object, "first_stack"), stack_count + 1);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(object, "frames")) frames[frame_count++] = item;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(object, "stacks"))
	{
		callers[++stack_count] = (uint32_t)item->valueint;
		item = item->next;
		own[stack_count] = (uint32_t)item->valueint;
		assert_true(callers[stack_count] < stack_count);
		assert_true(own[stack_count] < frame_count);
	}
}

static void read_all(void)
{
	struct rqs_stack_piece piece;

	while (rqs_stack_table_piece(table, &piece)) {
		assert_non_null(piece.text);
		read_piece(&piece);
		rqs_stack_table_written(table, &piece);
		free(piece.text);
	}
}

static void stacks_are_numbered_once(void **state)
{
	(void)state;
	const struct rqs_code_frame a[] = {frame("malloc", NULL, 0), frame("f", "a.c", 7), frame("main", "a.c", 90)};
	const struct rqs_code_frame b[] = {frame("malloc", NULL, 0), frame("f", "a.c", 8), frame("main", "a.c", 90)};
	uint32_t one = rqs_stack_table_number(table, a, 3), two = rqs_stack_table_number(table, b, 3);

	assert_int_not_equal(one, two);
	assert_int_equal(rqs_stack_table_number(table, a, 3), one);
	assert_int_equal(rqs_stack_table_number(table, b, 3), two);
	assert_int_equal(rqs_stack_table_number(table, a, 0), 0);
	read_all();
	assert_int_equal(stack_count, 5); /* main is the caller of both */
	assert_int_equal(frame_count, 4);
	assert_int_equal(callers[callers[one]], callers[callers[two]]);
	assert_text(own[one], "function", "malloc");
	assert_text(own[one], "file", NULL);
	assert_text(own[callers[one]], "file", "a.c");
	assert_text(own[callers[one]], "module", "server");
	assert_text(own[callers[one]], "kind", "native");
	assert_int_equal(number_in(frames[own[callers[two]]], "line"), 8);
	assert_null(cJSON_GetObjectItemCaseSensitive(frames[own[one]], "inlined"));
}

/* Where texts may have moved by then, addresses tell nothing any more. */
static void frames_of_a_source_are_known_by_addresses(void **state)
{
	(void)state;
	char function[] = "f";
	const struct rqs_code_frame it = frame(function, "a.c", 1);

	rqs_stack_table_source(table, 1);
	uint32_t one = rqs_stack_table_number(table, &it, 1);
	assert_int_equal(rqs_stack_table_number(table, &it, 1), one);
	*function = 'g';
	rqs_stack_table_source(table, 2);
	uint32_t two = rqs_stack_table_number(table, &it, 1);
	assert_int_not_equal(one, two);
	*function = 'h';
	rqs_stack_table_source(table, 0);
	uint32_t three = rqs_stack_table_number(table, &it, 1);
	assert_int_not_equal(two, three);
	*function = 'f';
	assert_int_equal(rqs_stack_table_number(table, &it, 1), one);
	read_all();
	assert_text(own[two], "function", "g");
	assert_text(own[three], "function", "h");
}

static void only_what_is_new_is_written(void **state)
{
	(void)state;
	struct rqs_code_frame a = frame("f", "a.c", 1), b = frame("g", "b.c", 2);
	struct rqs_stack_piece piece;

	assert_false(rqs_stack_table_piece(table, &piece));
	rqs_stack_table_number(table, &a, 1);
	read_all();
	rqs_stack_table_number(table, &a, 1);
	assert_false(rqs_stack_table_piece(table, &piece));
	rqs_stack_table_number(table, &b, 1);
	/* It couldn't be written: it stays new. */
	assert_true(rqs_stack_table_piece(table, &piece));
	free(piece.text);
	read_all();
	assert_int_equal(frame_count, 2);
	assert_int_equal(stack_count, 2);
	assert_false(rqs_stack_table_piece(table, &piece));
}

/* What differs in anything is another frame; the same texts elsewhere in memory are the same. */
static void frames_differ_by_all_that_they_say(void **state)
{
	(void)state;
	struct rqs_code_frame f[] = {frame("f", "a.c", 1), frame("f", "a.c", 2), frame("f", NULL, 1),
				     frame("g", "a.c", 1)};
	struct rqs_code_frame inlined = f[0], python = f[0], bare = f[0], copy = f[0];
	char name[] = "f", file[] = "a.c";

	inlined.inlined = true;
	python.kind = RQS_FRAME_PYTHON;
	bare.module = NULL;
	copy.function = name;
	copy.file = file;
	copy.address = 77;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(rqs_stack_table_number(table, &f[i], 1), i + 1);
	assert_int_equal(rqs_stack_table_number(table, &inlined, 1), 5);
	assert_int_equal(rqs_stack_table_number(table, &python, 1), 6);
	assert_int_equal(rqs_stack_table_number(table, &bare, 1), 7);
	assert_int_equal(rqs_stack_table_number(table, &copy, 1), 1);
	read_all();
	assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(frames[own[5]], "inlined")));
	assert_text(own[6], "kind", "python");
	assert_text(own[7], "module", NULL);
}

static void names_are_made_fit_to_be_shown(void **state)
{
	(void)state;
	char longest[2 * RQS_STACK_TEXT_MAX];
	struct rqs_code_frame f = frame("a\n\"\\\x1b[31m\xff\xc3\xa9", "", 0), g = frame(longest, NULL, 0);

	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	rqs_stack_table_number(table, &f, 1);
	rqs_stack_table_number(table, &g, 1);
	read_all();
	assert_text(0, "function", "a?\"\\?[31m?\xc3\xa9");
	assert_text(0, "file", "");
	assert_int_equal(strlen(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(frames[1], "function"))),
			 RQS_STACK_TEXT_MAX);
}

/* Many names full of commas, and many stacks: no piece is more than readers take. */
static void no_piece_is_too_long(void **state)
{
	(void)state;
	enum { NAMES = 3000, DEPTH = 60 };
	static char names[NAMES][900];
	struct rqs_code_frame f[DEPTH];

	for (unsigned i = 0; i < NAMES; i++) {
		memset(names[i], i % 2 ? ',' : '"', sizeof(names[i]) - 1);
		snprintf(names[i], sizeof(names[i]), "name%u", i);
		names[i][strlen(names[i])] = ' ';
	}
	for (unsigned i = 0; i < NAMES; i++) {
		for (unsigned k = 0; k < DEPTH; k++)
			f[k] = frame(names[(i + k * k) % NAMES], names[i], k);
		assert_int_not_equal(rqs_stack_table_number(table, f, DEPTH), 0);
	}
	read_all();
	assert_int_equal(frame_count, NAMES * DEPTH);
	assert_int_equal(stack_count, NAMES * DEPTH);
	assert_true(cJSON_GetArraySize(pieces) > 10);
}

/* A recursion that never ends the same way: what finds no room is told, and what there was stays. */
static void too_many_stacks_are_a_note(void **state)
{
	(void)state;
	static struct rqs_code_frame deep[RQS_STACKS_MAX];
	struct rqs_code_frame f = frame("f", "a.c", 1), g = frame("g", "a.c", 1), two[] = {g, f};

	for (uint32_t i = 0; i < RQS_STACKS_MAX; i++)
		deep[i] = f;
	assert_int_equal(rqs_stack_table_number(table, deep, RQS_STACKS_MAX), RQS_STACKS_MAX);
	assert_int_equal(rqs_stack_table_beyond(table), 0);
	assert_int_equal(rqs_stack_table_number(table, two, 2), RQS_STACKS_MAX + 1);
	assert_int_equal(rqs_stack_table_number(table, &g, 1), RQS_STACKS_MAX + 1);
	assert_int_equal(rqs_stack_table_number(table, &f, 1), 1);
	assert_int_equal(rqs_stack_table_beyond(table), 2);
	read_all();
	assert_int_equal(stack_count, RQS_STACKS_MAX + 1);
	assert_text(own[RQS_STACKS_MAX + 1], "function", "(too many stacks)");
	assert_text(own[RQS_STACKS_MAX + 1], "kind", "note");
	assert_int_equal(callers[RQS_STACKS_MAX + 1], 0);
}

/* The same for names, of which the memory is bounded. */
static void too_many_names_are_a_note(void **state)
{
	(void)state;
	char name[RQS_STACK_TEXT_MAX + 1];
	struct rqs_code_frame f = frame(name, NULL, 0);
	uint32_t number = 0, before, room = RQS_STACK_TEXTS_MAX / RQS_STACK_TEXT_MAX;

	memset(name, 'x', RQS_STACK_TEXT_MAX);
	name[RQS_STACK_TEXT_MAX] = 0;
	for (uint32_t i = 0; i < room + 10; i++) {
		memcpy(name, &(uint64_t){0x3030303030303030 + i % 64 + (i / 64 % 64 << 8) + (i / 4096 << 16)}, 8);
		before = number;
		number = rqs_stack_table_number(table, &f, 1);
		assert_true(number == before + 1 || (number == before && i > room - 2));
	}
	assert_in_range(rqs_stack_table_beyond(table), 1, 12);
	read_all();
	assert_text(own[number], "function", "(too many stacks)");
}

#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_TABLE(stacks_are_numbered_once),
	    WITH_TABLE(frames_of_a_source_are_known_by_addresses),
	    WITH_TABLE(only_what_is_new_is_written),
	    WITH_TABLE(frames_differ_by_all_that_they_say),
	    WITH_TABLE(names_are_made_fit_to_be_shown),
	    WITH_TABLE(no_piece_is_too_long),
	    WITH_TABLE(too_many_stacks_are_a_note),
	    WITH_TABLE(too_many_names_are_a_note),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
