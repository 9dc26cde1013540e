/*
 * go_code.c - see go_code.h. As in src/runtime/traceback.go, symtab.go and
 * symtabinl.go, where what is done here is tracebackPCs() and Frames.Next().
 */
#include "unwind/go_code.h"

#include "inject/inline_tree.h"

#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INLINED_MAX 128u   /* calls within one another; a hostile tree has circles */
#define PHYSICAL_MAX 4096u /* of which none may be shown, as they are wrappers */
#define BRIEF_MAX 4096u    /* of names that are shortened */
#define LEAST_WRAPPER 20u  /* kinds of special functions before it, in every version */

struct rqs_go_code {
	int fd;
	struct rqs_image image;
	struct rqs_go_table table;
	uint8_t wrapper; /* id of wrappers */
	void *texts;     /* a tree of strings */
};

/* ---- texts ---- */

static int compare_texts(const void *a, const void *b)
{
	return strcmp(a, b);
}

static const char *text_of(struct rqs_go_code *code, const char *text)
{
	char **found = tfind(text, &code->texts, compare_texts);

	if (found)
		return *found;
	char *copy = strdup(text);
	if (copy && tsearch(copy, &code->texts, compare_texts))
		return copy;
	free(copy);
	return NULL;
}

/* What stands for type arguments (since Go 1.21 "go.shape.int") is for nobody's eyes. */
static const char *name_of(struct rqs_go_code *code, const char *name)
{
	const char *first = strchr(name, '['), *last = first ? strrchr(first, ']') : NULL;
	char brief[BRIEF_MAX];

	if (!last || strlen(name) >= sizeof(brief) - 4)
		return text_of(code, name);
	size_t before = (size_t)(first - name);
	memcpy(brief, name, before);
	memcpy(brief + before, "[...]", 5);
	strcpy(brief + before + 5, last + 1);
	return text_of(code, brief);
}

/* ---- opening ---- */

/* The wrappers' is the last of the ids that functions have, and hardly a program is without. */
static uint8_t find_wrapper_id(const struct rqs_go_table *table)
{
	struct rqs_go_function function;
	struct rqs_go_record record;
	uint8_t highest = 0;

	for (uint64_t i = 0; i < table->count; i++)
		if (rqs_go_table_at(table, i, &function) && rqs_go_table_record(table, &function, &record) &&
		    record.id > highest)
			highest = record.id;
	return highest > LEAST_WRAPPER ? highest : UINT8_MAX;
}

struct rqs_go_code *rqs_go_code_open(int fd)
{
	struct rqs_go_code *code = calloc(1, sizeof(*code));
	const char *why;

	if (!code)
		return NULL;
	code->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (code->fd >= 0 && rqs_image_open(&code->image, code->fd) == 0 &&
	    rqs_go_table_open(&code->table, &code->image, &why)) {
		code->wrapper = find_wrapper_id(&code->table);
		return code;
	}
	rqs_go_code_free(code);
	return NULL;
}

void rqs_go_code_free(struct rqs_go_code *code)
{
	if (!code)
		return;
	tdestroy(code->texts, free);
	rqs_image_close(&code->image);
	if (code->fd >= 0)
		close(code->fd);
	free(code);
}

bool rqs_go_code_has(const struct rqs_go_code *code, uint64_t address)
{
	struct rqs_go_function function;

	return rqs_go_table_find(&code->table, address, &function);
}

/* ---- the frames of one address ---- */

/* A function, maybe as it was put into another one, and where in it. */
struct place {
	const char *name;
	uint8_t id;
	int32_t node;  /* in the tree of what was inlined, -1: it is the function itself */
	uint64_t call; /* address of an instruction */
};

struct spot {
	struct rqs_go_code *code;
	struct rqs_go_function function;
	struct rqs_go_record record;
};

static bool find_spot(struct spot *spot, struct rqs_go_code *code, uint64_t address)
{
	spot->code = code;
	return rqs_go_table_find(&code->table, address, &spot->function) &&
	       rqs_go_table_record(&code->table, &spot->function, &spot->record);
}

static uint32_t take_place(const struct spot *spot, uint64_t call, struct place *place)
{
	const struct rqs_go_table *table = &spot->code->table;
	struct rqs_inline_node node;

	*place = (struct place){.name = spot->function.name, .id = spot->record.id, .node = -1, .call = call};
	if (!spot->record.has_inline_tree ||
	    !rqs_go_table_value(table, &spot->function, spot->record.inlined, call, &place->node))
		return 0;
	if (place->node < 0 || !rqs_inline_node(table, spot->record.inline_tree, (uint32_t)place->node, &node)) {
		place->node = -1;
		return 0;
	}
	place->name = node.name;
	place->id = node.id;
	return node.parent;
}

static bool show(const struct spot *spot, const struct place *place, uint64_t address, struct rqs_code_frame *frame)
{
	const struct rqs_go_table *table = &spot->code->table;
	const char *file = NULL;
	int32_t value;

	*frame = (struct rqs_code_frame){.kind = RQS_FRAME_GO, .inlined = place->node >= 0, .address = address};
	frame->function = name_of(spot->code, place->name);
	if (rqs_go_table_value(table, &spot->function, spot->record.file, place->call, &value))
		file = rqs_go_table_file(table, &spot->record, value);
	if (file)
		frame->file = text_of(spot->code, file);
	if (rqs_go_table_value(table, &spot->function, spot->record.line, place->call, &value) && value > 0)
		frame->line = (uint32_t)value;
	return frame->function != NULL;
}

/* Those that a method's value or an interface's table needs; where a panic was called by one it is shown. */
static bool is_hidden(const struct rqs_go_code *code, const struct place *place, const char *callee)
{
	static const char *const shown_by[] = {"runtime.gopanic", "runtime.sigpanic", "runtime.panicwrap"};

	if (place->id != code->wrapper)
		return false;
	for (size_t i = 0; callee && i < sizeof(shown_by) / sizeof(*shown_by); i++)
		if (!strcmp(callee, shown_by[i]))
			return false;
	return true;
}

struct frames {
	struct rqs_code_frame *frames;
	size_t count, room;
	const char *callee; /* name of the place that was looked at last, NULL none */
};

/* All frames of the instruction at `call`, as linked; `address` is what they are shown with. */
static void add_places(struct frames *to, const struct spot *spot, uint64_t call, uint64_t address)
{
	struct place place = {.node = 0};

	for (unsigned i = 0; i < INLINED_MAX && place.node >= 0; i++) {
		uint32_t parent = take_place(spot, call, &place);

		if (to->count < to->room && !is_hidden(spot->code, &place, to->callee))
			to->count += show(spot, &place, address, &to->frames[to->count]);
		to->callee = place.name;
		call = spot->function.start + parent;
	}
}

size_t rqs_go_code_at(struct rqs_go_code *code, uint64_t bias, uint64_t address, bool call,
		      struct rqs_code_frame *frames, size_t room)
{
	struct frames to = {.frames = frames, .room = room};
	uint64_t linked = address - bias;
	struct spot spot;

	if (find_spot(&spot, code, linked))
		add_places(&to, &spot, linked - (call && linked > spot.function.start), address);
	return to.count;
}

/* ---- the stack ---- */

struct walk {
	const uint8_t *stack;
	uint64_t rsp, size; /* where it was, and its bytes */
	uint64_t pc, sp;
	bool trapped; /* pc isn't a return address: what looks as if it had been called there handles a signal */
};

static bool is_named(const struct spot *spot, const char *name)
{
	return !strcmp(spot->function.name, name);
}

enum step { STEP_ON, STEP_TOP, STEP_SWITCH, STEP_CUT };

/* To the caller. */
static enum step step(struct walk *walk, const struct spot *spot, uint64_t linked)
{
	int32_t delta;

	if (spot->record.flags & RQS_GO_TOP_FRAME)
		return STEP_TOP;
	/* runtime.cgocallback comes to the goroutine's stack, which it leaves as if it had been called on it. */
	if (spot->record.flags & RQS_GO_SP_WRITE && !is_named(spot, "runtime.cgocallback"))
		return STEP_SWITCH;
	if (!rqs_go_table_value(&spot->code->table, &spot->function, spot->record.sp, linked, &delta) || delta < 0)
		return STEP_SWITCH;
	uint64_t at = walk->sp + (uint32_t)delta - walk->rsp;
	if (at & 7 || at + 8 > walk->size)
		return STEP_CUT;
	walk->trapped = is_named(spot, "runtime.sigpanic") || is_named(spot, "runtime.asyncPreempt");
	walk->pc = rqs_load64(walk->stack + at);
	walk->sp = walk->rsp + at + 8;
	return walk->pc ? STEP_ON : STEP_TOP;
}

/* Why there are no more frames; NULL: there are none. */
static const char *walk_up(struct walk *walk, struct frames *to, rqs_go_code_finder *find, void *context, bool more)
{
	for (unsigned i = 0; i < PHYSICAL_MAX && to->count < to->room; i++) {
		uint64_t bias = 0;
		struct rqs_go_code *code = find(context, walk->pc, &bias);
		uint64_t linked = walk->pc - bias;
		struct spot spot;

		if (!code || !find_spot(&spot, code, linked))
			return "(unknown code)";
		add_places(to, &spot, linked - (!walk->trapped && linked > spot.function.start), walk->pc);
		switch (step(walk, &spot, linked)) {
		case STEP_ON:
			break;
		case STEP_TOP:
			return NULL;
		case STEP_CUT:
			return more ? "(truncated)" : "(system stack)";
		case STEP_SWITCH:
			return "(system stack)";
		}
	}
	return "(truncated)";
}

static bool is_runtimes(const char *name)
{
	static const char *const packages[] = {"runtime.", "runtime/internal/", "internal/runtime/"};

	for (size_t i = 0; i < sizeof(packages) / sizeof(*packages); i++)
		if (!strncmp(name, packages[i], strlen(packages[i])))
			return true;
	return false;
}

/* As runtime/pprof does for heap profiles: who caused the allocation is asked, not how the runtime made it. */
static size_t without_runtimes(struct rqs_code_frame *frames, size_t count)
{
	size_t inner = 0;

	while (inner < count && is_runtimes(frames[inner].function))
		inner++;
	if (inner == count)
		return count;
	memmove(frames, frames + inner, (count - inner) * sizeof(*frames));
	return count - inner;
}

size_t rqs_go_code_frames(rqs_go_code_finder *find, void *context, const struct rqs_sample_record *sample,
			  struct rqs_code_frame *frames)
{
	struct frames to = {.frames = frames, .room = RQS_CODE_FRAMES - 1};
	struct walk walk = {
	    .stack = (const uint8_t *)(sample->frames + sample->frame_count),
	    .rsp = sample->registers[RQS_SAMPLE_RSP],
	    .size = sample->stack_bytes,
	    .pc = sample->registers[RQS_SAMPLE_RIP],
	    .sp = sample->registers[RQS_SAMPLE_RSP],
	};
	const char *note = walk_up(&walk, &to, find, context, sample->flags & RQS_SAMPLE_MORE_STACK);
	size_t count = without_runtimes(frames, to.count);

	if (note)
		frames[count++] = (struct rqs_code_frame){.function = note, .kind = RQS_FRAME_NOTE};
	return count;
}
