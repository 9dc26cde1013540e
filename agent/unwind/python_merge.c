/* python_merge.c - see python_merge.h. */
#include "unwind/python_merge.h"

#include <string.h>

struct merged {
	struct rqs_code_frame frames[RQS_CODE_FRAMES];
	size_t count;
	const struct rqs_sample_record *sample;
	uint16_t next; /* of Python's frames */
	rqs_python_namer *name;
	void *context;
};

static bool begins_with(const char *text, const char *beginning)
{
	return !strncmp(text, beginning, strlen(beginning));
}

/* From 3.14 on the loop may be many functions that go on in each other (--with-tail-call-interp). */
static bool is_part_of_loop(const struct rqs_code_frame *frame)
{
	return frame->kind == RQS_FRAME_NATIVE && begins_with(frame->function, "_TAIL_CALL_");
}

/* Compilers put parts of it elsewhere, and then add to its name. */
static bool is_loop(const struct rqs_code_frame *frame)
{
	static const char name[] = "_PyEval_EvalFrameDefault";
	const char *behind = frame->function + sizeof(name) - 1;

	return frame->kind == RQS_FRAME_NATIVE && !frame->inlined && begins_with(frame->function, name) &&
	       (*behind == '\0' || *behind == '.' || *behind == ' ');
}

static bool is_allocator(const struct rqs_code_frame *frame)
{
	static const char *const names[] = {"PyObject_Malloc", "PyObject_Calloc", "PyObject_Realloc",
					    "PyMem_Malloc",    "PyMem_Calloc",    "PyMem_Realloc",
					    "PyMem_RawMalloc", "PyMem_RawCalloc", "PyMem_RawRealloc"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(frame->function, names[i]))
			return true;
	return false;
}

void rqs_python_reach_begin(struct rqs_python_reach *reach, const struct rqs_sample_record *sample)
{
	*reach = (struct rqs_python_reach){0};
	for (unsigned i = 0; i < sample->frame_count; i++)
		reach->calls += i + 1 == sample->frame_count || sample->frames[i].offset & RQS_FRAME_ENTRY;
}

bool rqs_python_reach_on(struct rqs_python_reach *reach, const struct rqs_code_frame *frame)
{
	bool loop = is_loop(frame), part = is_part_of_loop(frame);

	if (reach->calls && (part || (loop && !reach->part)))
		reach->calls--;
	reach->part = part;
	return reach->calls > 0;
}

static void put(struct merged *merged, const struct rqs_code_frame *frame)
{
	if (merged->count < RQS_CODE_FRAMES)
		merged->frames[merged->count++] = *frame;
}

static void put_note(struct merged *merged, const char *note)
{
	if (merged->count == RQS_CODE_FRAMES)
		merged->count--;
	put(merged, &(struct rqs_code_frame){.function = note, .kind = RQS_FRAME_NOTE});
}

static bool all_are_put(const struct merged *merged)
{
	return merged->next == merged->sample->frame_count;
}

/* The functions of one call of the loop. Some calls run none that is shown. */
static void put_run(struct merged *merged)
{
	bool last = false;

	while (!all_are_put(merged) && !last) {
		const struct rqs_sample_frame *frame = &merged->sample->frames[merged->next++];
		struct rqs_code_frame named;

		last = frame->offset & RQS_FRAME_ENTRY;
		if (!frame->code && frame->offset == RQS_FRAME_ENTRY)
			continue;
		if (!merged->name(merged->context, frame, &named))
			named = (struct rqs_code_frame){.function = "(unknown Python code)", .kind = RQS_FRAME_PYTHON};
		put(merged, &named);
	}
}

static bool has_loop(const struct rqs_code_frame *frames, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_loop(&frames[i]) || is_part_of_loop(&frames[i]))
			return true;
	return false;
}

/* One call of the loop from frames[i] on: what it is replaced by, and where the next frame is. */
static size_t put_loop(struct merged *merged, const struct rqs_code_frame *frames, size_t count, size_t i)
{
	bool part = is_part_of_loop(&frames[i]);

	put_run(merged);
	i++;
	return part && i < count && is_loop(&frames[i]) ? i + 1 : i;
}

/* What was inlined into the loop is as much a part of it. */
static bool is_in_loop(const struct rqs_code_frame *frames, size_t count, size_t i)
{
	while (i < count && frames[i].inlined)
		i++;
	return i < count && (is_loop(&frames[i]) || is_part_of_loop(&frames[i]));
}

static void merge(struct merged *merged, const struct rqs_code_frame *frames, size_t count)
{
	size_t i = 0;

	while (i < count && merged->sample->kind == RQS_SAMPLE_PYTHON && is_allocator(&frames[i]))
		i++;
	while (i < count && !all_are_put(merged) && frames[i].kind != RQS_FRAME_NOTE) {
		if (is_loop(&frames[i]) || is_part_of_loop(&frames[i])) {
			i = put_loop(merged, frames, count, i);
			continue;
		}
		if (!frames[i].inlined || !is_in_loop(frames, count, i))
			put(merged, &frames[i]);
		i++;
	}
}

size_t rqs_python_merge(rqs_python_namer *name, void *context, const struct rqs_sample_record *sample,
			struct rqs_code_frame *frames, size_t count)
{
	struct merged merged;

	merged.count = merged.next = 0;
	merged.sample = sample;
	merged.name = name;
	merged.context = context;
	if (has_loop(frames, count))
		merge(&merged, frames, count);
	while (!all_are_put(&merged)) /* the native stack was cut before */
		put_run(&merged);
	if (sample->flags & RQS_SAMPLE_MORE_FRAMES)
		put_note(&merged, "(truncated)");
	memcpy(frames, merged.frames, merged.count * sizeof(*frames));
	return merged.count;
}
