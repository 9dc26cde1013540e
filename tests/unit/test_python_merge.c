/* test_python_merge.c - the interpreter's native frames and the functions that it runs, as one stack. */
#include "unit.h"

#include "unwind/python_merge.h"

#include <stdlib.h>

#define LOOP "_PyEval_EvalFrameDefault"

static char names[16][4];

static bool name(void *context, const struct rqs_sample_frame *frame, struct rqs_code_frame *named)
{
	(void)context;
	if (!frame->code || frame->code >= 16)
		return false;
	snprintf(names[frame->code], sizeof(names[0]), "f%u", frame->code);
	*named = (struct rqs_code_frame){.function = names[frame->code], .kind = RQS_FRAME_PYTHON};
	return true;
}

struct stack {
	const char *native[8]; /* a '+' before it: inlined; a '(': a note */
	struct rqs_sample_frame python[8];
	uint16_t python_count, flags;
	uint8_t kind;
	const char *merged; /* functions, by spaces */
};

/* How many of the frames are of use, as who makes them sees one by one. */
static size_t reached(const struct rqs_sample_record *sample, const struct rqs_code_frame *frames, size_t count)
{
	struct rqs_python_reach reach;
	size_t i = 0;

	rqs_python_reach_begin(&reach, sample);
	while (i < count && rqs_python_reach_on(&reach, &frames[i]))
		i++;
	return i < count ? i + 1 : count;
}

static void check(const struct stack *stack, bool cut)
{
	static struct rqs_code_frame frames[RQS_CODE_FRAMES];
	struct rqs_sample_record *sample = calloc(1, sizeof(*sample) + sizeof(stack->python));
	char merged[512] = "";
	size_t count = 0;

	sample->kind = stack->kind;
	sample->flags = stack->flags;
	sample->frame_count = stack->python_count;
	memcpy(sample->frames, stack->python, sizeof(stack->python));
	for (; count < 8 && stack->native[count]; count++) {
		const char *function = stack->native[count];

		frames[count] = (struct rqs_code_frame){.function = function + (*function == '+'),
							.inlined = *function == '+',
							.kind = *function == '(' ? RQS_FRAME_NOTE : RQS_FRAME_NATIVE};
	}
	if (cut)
		count = reached(sample, frames, count);
	count = rqs_python_merge(name, NULL, sample, frames, count);
	for (size_t i = 0; i < count; i++) {
		strcat(merged, i ? " " : "");
		strcat(merged, frames[i].function);
	}
	assert_string_equal(merged, stack->merged);
	free(sample);
}

static void test_stacks(void **state)
{
	const uint32_t entry = RQS_FRAME_ENTRY;
	const struct stack all[] = {
	    /* Several functions by one call of the loop; what called the outermost is left out. */
	    {{"dict_new", LOOP, "PyEval_EvalCode", "main"}, {{1, 4}, {2, 8}, {3, entry}}, 3, 0, 0, "dict_new f1 f2 f3"},
	    /* C between two calls of the loop, as by map(); one of them with a name that the compiler gave it. */
	    {{"a", LOOP, "b", "c", LOOP ".cold", "main"}, {{1, entry}, {2, 8}, {3, entry}}, 3, 0, 0, "a f1 b c f2 f3"},
	    /* A call that runs nothing which is shown. */
	    {{"a", LOOP, "b", LOOP, "main"}, {{0, entry}, {3, entry}}, 2, 0, 0, "a b f3"},
	    /* The native stack was cut: Python's go on. */
	    {{"a", LOOP, "b", "(truncated)"}, {{1, entry}, {2, entry}, {3, entry}}, 3, 0, 0, "a f1 b f2 f3"},
	    /* Python's were. */
	    {{"a", LOOP, "b", LOOP, "main"},
	     {{1, entry}, {2, 8}},
	     2,
	     RQS_SAMPLE_MORE_FRAMES,
	     0,
	     "a f1 b f2 (truncated)"},
	    /* Nothing says where the loop is. */
	    {{"0x10", "0x20", "main"}, {{1, entry}, {2, entry}}, 2, 0, 0, "f1 f2"},
	    /* A name that isn't the loop's, and what is inlined into the loop. */
	    {{"_PyEval_EvalFrameDefaultNot", "+inlined", LOOP, "main"},
	     {{1, entry}},
	     1,
	     0,
	     0,
	     "_PyEval_EvalFrameDefaultNot f1"},
	    /* The loop as functions that jump to each other. */
	    {{"a", "_TAIL_CALL_CALL", LOOP, "b", "_TAIL_CALL_CALL", "main"},
	     {{1, entry}, {2, entry}},
	     2,
	     0,
	     0,
	     "a f1 b f2"},
	    /* The allocator's own functions are none of the stack's. */
	    {{"PyObject_Malloc", "list_resize", LOOP}, {{1, entry}}, 1, 0, RQS_SAMPLE_PYTHON, "list_resize f1"},
	    {{"PyObject_Malloc", "list_resize", LOOP},
	     {{1, entry}},
	     1,
	     0,
	     RQS_SAMPLE_NATIVE,
	     "PyObject_Malloc list_resize f1"},
	    /* Code that nothing is known of. */
	    {{LOOP}, {{99, 8}, {0, 8}, {1, entry}}, 3, 0, 0, "(unknown Python code) (unknown Python code) f1"},
	    {{NULL}, {{1, 8}}, 1, 0, 0, "f1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		check(&all[i], false);
		check(&all[i], true);
	}
}

/* Frames further out than the outermost of Python's functions are asked for no more, each of the others is. */
static void test_reach(void **state)
{
	static const struct rqs_code_frame frames[] = {
	    {.function = "a"},  {.function = LOOP}, {.function = "b"},  {.function = "_TAIL_CALL_CALL"},
	    {.function = LOOP}, {.function = "c"},  {.function = LOOP}, {.function = "main"}};
	static const size_t of_calls[] = {2, 4, 7};
	struct rqs_sample_record *sample = calloc(1, sizeof(*sample) + 8 * 4);

	(void)state;
	for (uint16_t calls = 1; calls <= 3; calls++) {
		sample->frame_count = calls + 1;
		for (uint16_t i = 0; i <= calls; i++)
			sample->frames[i] = (struct rqs_sample_frame){1, i ? RQS_FRAME_ENTRY : 0};
		assert_int_equal(reached(sample, frames, sizeof(frames) / sizeof(*frames)), of_calls[calls - 1]);
	}
	free(sample);
}

static void test_as_many_as_there_is_room_for(void **state)
{
	static struct rqs_code_frame frames[RQS_CODE_FRAMES];
	struct rqs_sample_record *sample = calloc(1, sizeof(*sample) + 8 * RQS_SAMPLE_FRAMES);

	(void)state;
	for (size_t i = 0; i < RQS_CODE_FRAMES; i++)
		frames[i] = (struct rqs_code_frame){.function = i == RQS_CODE_FRAMES - 1 ? LOOP : "x"};
	sample->frame_count = RQS_SAMPLE_FRAMES;
	sample->flags = RQS_SAMPLE_MORE_FRAMES;
	for (size_t i = 0; i < RQS_SAMPLE_FRAMES; i++)
		sample->frames[i].code = 1;
	assert_int_equal(rqs_python_merge(name, NULL, sample, frames, RQS_CODE_FRAMES), RQS_CODE_FRAMES);
	assert_string_equal(frames[RQS_CODE_FRAMES - 1].function, "(truncated)");
	free(sample);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stacks),
	    cmocka_unit_test(test_reach),
	    cmocka_unit_test(test_as_many_as_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
