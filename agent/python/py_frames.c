/*
 * py_frames.c - which Python functions a thread is in, read from where the
 * interpreter keeps its frames. Nothing of it is called, changed or kept.
 *
 * How that is laid out differs by version. Up to 3.12 it was computed from the
 * headers of each, by offsetof; from 3.13 on the interpreter tells of itself
 * what has a place in _PyRuntime's first member (_Py_DebugOffsets), whose own
 * layout is each version's. What was found is held against the first frame
 * that there is, once: where it has no code object with a file's name, no frame
 * is ever looked at.
 *
 * Under the GIL no other thread changes a frame, a code object or a text.
 */
#include "hook/hook.h"
#include "hook/objects.h"
#include "python/py_api.h"
#include "python/py_sites.h"

#include <string.h>

/* Between the GIL's holders; where there are several GILs the answer is the same. */
static enum { UNKNOWN, GOOD, BAD } checked;

#define NONE UINT16_MAX
/* More than there are to be found, all that isn't shown included. */
#define STEPS 512

static struct layout {
	/* PyThreadState: the current frame, or what has it at `held` */
	uint16_t current, held;
	uint16_t thread_id;
	/* Its frame; owner and is_entry are bytes. */
	uint16_t previous, code, at, owner, is_entry;
	/* PyCodeObject: names are texts, lines are bytes; the bytecode is there from 3.11 on */
	uint16_t first_line, file, name, lines, bytecode;
	uint8_t ascii, compact; /* sizes of two kinds of text's heads: the characters follow */
	uint8_t unit;           /* bytes of what the place in a frame counts; 0: it is an address */
	uint8_t lines_kind;
} layout;

/* What the frame belongs to (enum _frameowner, pycore_frame.h). */
#define OWNER_GENERATOR 1
#define OWNER_INTERPRETER 3 /* no function's: the interpreter's own, one for each time that C calls it */

static const struct layout by_version[] = {
	[8] = { 24, NONE, 176, 24, 32, 104, NONE, NONE, 40, 104, 112, 120, NONE, 48, 72, 1, RQS_LINES_LNOTAB },
	[9] = { 24, NONE, 176, 24, 32, 104, NONE, NONE, 40, 104, 112, 120, NONE, 48, 72, 1, RQS_LINES_LNOTAB },
	[10] = { 24, NONE, 176, 24, 32, 96, NONE, NONE, 40, 104, 112, 120, NONE, 48, 72, 2, RQS_LINES_310 },
	[11] = { 56, 8, 152, 48, 32, 56, 69, 68, 72, 112, 128, 136, 184, 48, 72, 0, RQS_LINES_LOCATIONS },
	[12] = { 56, 0, 136, 8, 0, 56, 70, NONE, 68, 112, 128, 136, 192, 40, 56, 0, RQS_LINES_LOCATIONS },
};

/* Where _Py_DebugOffsets has them, in words. */
static const struct told {
	uint8_t current, thread_id;
	uint8_t previous, code, at, owner;
	uint8_t file, name, lines, first_line, bytecode;
	uint8_t ascii;
} told_by[] = {
	[13] = { 23, 24, 29, 30, 31, 33, 35, 37, 38, 39, 43, 70 },
	[14] = { 26, 27, 32, 33, 34, 36, 40, 42, 43, 44, 48, 80 },
};
#define TOLD_WORDS 81

static const char *code_type, *text_type, *bytes_type;

static bool ask(const struct told *told)
{
	size_t size = 0;
	const uint64_t *words = rqs_objects_any("_PyRuntime", &size);

	if (!words || size < TOLD_WORDS * 8 || memcmp(words, "xdebugpy", 8))
		return false;
	layout = (struct layout){
		.current = (uint16_t)words[told->current],
		.held = NONE,
		.thread_id = (uint16_t)words[told->thread_id],
		.previous = (uint16_t)words[told->previous],
		.code = (uint16_t)words[told->code],
		.at = (uint16_t)words[told->at],
		.owner = (uint16_t)words[told->owner],
		.is_entry = NONE,
		.first_line = (uint16_t)words[told->first_line],
		.file = (uint16_t)words[told->file],
		.name = (uint16_t)words[told->name],
		.lines = (uint16_t)words[told->lines],
		.bytecode = (uint16_t)words[told->bytecode],
		.ascii = (uint8_t)words[told->ascii],
		.compact = (uint8_t)(words[told->ascii] + 16), /* utf8_length, utf8 */
		.lines_kind = RQS_LINES_LOCATIONS,
	};
	return true;
}

bool rqs_py_frames_find(void)
{
	size_t minor = (size_t)rqs_py.minor;

	checked = BAD;
	code_type = rqs_objects_any("PyCode_Type", NULL);
	text_type = rqs_objects_any("PyUnicode_Type", NULL);
	bytes_type = rqs_objects_any("PyBytes_Type", NULL);
	if (!code_type || !text_type || !bytes_type)
		return false;
	if (minor < sizeof(by_version) / sizeof(by_version[0]) && by_version[minor].current)
		layout = by_version[minor];
	else if (minor >= sizeof(told_by) / sizeof(told_by[0]) || !told_by[minor].current || !ask(&told_by[minor]))
		return false;
	checked = UNKNOWN;
	return true;
}

/* ---- objects ---- */

static inline const char *pointer_at(const char *p, uint16_t offset)
{
	return *(const char *const *)(const void *)(p + offset);
}

static bool is_a(const char *object, const char *type)
{
	return object && ((uintptr_t)object & 7) == 0 && pointer_at(object, 8) == type;
}

/* Also of an object that is of another kind in a way that we don't know: the text ends with a zero, as all do. */
static bool read_text(const char *object, struct rqs_py_text *text)
{
	if (!is_a(object, text_type))
		return false;
	uint64_t length = *(const uint64_t *)(const void *)(object + 16);
	uint32_t state = *(const uint32_t *)(const void *)(object + 32);
	uint8_t width = state >> 2 & 7;
	bool compact = state & 0x20, ascii = state & 0x40;

	if (!compact || (width != 1 && width != 2 && width != 4) || length > UINT32_MAX)
		return false;
	const char *data = object + (ascii ? layout.ascii : layout.compact);
	const char *end = data + length * width;
	if (memcmp(end, "\0\0\0", width))
		return false;
	*text = (struct rqs_py_text){ .data = data, .bytes = length * width, .width = width };
	return true;
}

bool rqs_py_code_read(const char *code, struct rqs_py_code *parts)
{
	const char *lines = pointer_at(code, layout.lines);

	if (!read_text(pointer_at(code, layout.file), &parts->file) ||
	    !read_text(pointer_at(code, layout.name), &parts->name))
		return false;
	parts->first_line = *(const uint32_t *)(const void *)(code + layout.first_line);
	parts->lines = NULL;
	parts->lines_kind = RQS_LINES_NONE;
	parts->lines_bytes = 0;
	if (is_a(lines, bytes_type)) {
		parts->lines_bytes = *(const uint64_t *)(const void *)(lines + 16);
		parts->lines = lines + 32;
		parts->lines_kind = layout.lines_kind;
	}
	return true;
}

/* ---- frames ---- */

/* The two lowest bits of a reference may be 3.14's own notes on it. */
static const char *code_of(const char *frame)
{
	return (const char *)((uintptr_t)pointer_at(frame, layout.code) & ~(uintptr_t)3);
}

static bool is_interpreters(const char *frame)
{
	return layout.owner != NONE && layout.is_entry == NONE && frame[layout.owner] >= OWNER_INTERPRETER;
}

/* Of the instruction that is executed: what a traceback asks PyCode_Addr2Line for. Negative: before the first. */
static int64_t offset_of(const char *frame, const char *code)
{
	if (layout.unit)
		return *(const int32_t *)(const void *)(frame + layout.at) * layout.unit;
	return pointer_at(frame, layout.at) - (code + layout.bytecode);
}

/* As _PyFrame_IsIncomplete: not yet where tracing may begin. That int stands 16 bytes before the bytecode. */
static bool is_incomplete(const char *frame, const char *code, int64_t offset)
{
	if (layout.unit || frame[layout.owner] == OWNER_GENERATOR)
		return false;
	return offset < 2 * (int64_t)*(const int32_t *)(const void *)(code + layout.bytecode - 16);
}

/* Was it C that called this function? Before 3.11 it always is. From 3.12 on the interpreter's own frame follows. */
static bool is_entry(const char *frame)
{
	if (layout.unit)
		return true;
	return layout.is_entry != NONE && frame[layout.is_entry];
}

/* ---- the check ---- */

/* By the kernel, which finds that an address is none where we would end the host. */
static bool peek(const char *p, uint16_t offset, void *to, size_t n)
{
	return p && rqs_agent.env->copy(to, p + offset, n) == n;
}

static bool peek_code(const char *frame, const char **code)
{
	const char *type;

	if (!peek(frame, layout.code, code, sizeof(*code)))
		return false;
	*code = (const char *)((uintptr_t)*code & ~(uintptr_t)3);
	return peek(*code, 8, &type, sizeof(type)) && type == code_type;
}

static bool is_text(const char *code, uint16_t at)
{
	const char *text, *type;

	return peek(code, at, &text, sizeof(text)) && peek(text, 8, &type, sizeof(type)) && type == text_type;
}

/* Is the first function's frame what it should be? Stays UNKNOWN where there is none. */
static void check(const char *state)
{
	const char *frame, *code;
	uint8_t owner = 0;

	if (rqs_agent.frozen || !peek(state, layout.current, &frame, sizeof(frame)) ||
	    (frame && layout.held != NONE && !peek(frame, layout.held, &frame, sizeof(frame)))) {
		checked = BAD;
		return;
	}
	for (int i = 0; i < STEPS && frame && layout.owner != NONE && layout.is_entry == NONE; i++)
		if (!peek(frame, layout.owner, &owner, 1) || owner < OWNER_INTERPRETER ||
		    !peek(frame, layout.previous, &frame, sizeof(frame)))
			break;
	if (!frame)
		return;
	bool right = peek_code(frame, &code) && is_text(code, layout.file) && is_text(code, layout.name);
	struct rqs_py_code parts;
	checked = right && rqs_py_code_read(code, &parts) && parts.file.bytes && parts.name.bytes ? GOOD : BAD;
}

struct walk {
	struct rqs_py_frame *frames;
	uint16_t count;
	bool open; /* the last one is of the same call of the interpreter as what comes next */
	bool more;
};

static bool add(struct walk *walk, const char *code, uint32_t offset)
{
	if (walk->count == RQS_SAMPLE_FRAMES) {
		walk->more = true;
		return false;
	}
	walk->frames[walk->count++] = (struct rqs_py_frame){ .code = code, .offset = offset };
	walk->open = true;
	return true;
}

/* The interpreter was entered here, also where no function is to be shown. */
static bool enter(struct walk *walk)
{
	if (!walk->open && !add(walk, NULL, 0))
		return false;
	walk->frames[walk->count - 1].offset |= RQS_FRAME_ENTRY;
	walk->open = false;
	return true;
}

/* False: that was the last one, or too many, or none. */
static bool step(struct walk *walk, const char *frame)
{
	if (is_interpreters(frame))
		return frame[layout.owner] != OWNER_INTERPRETER || enter(walk);
	const char *code = code_of(frame);

	if (!is_a(code, code_type)) {
		checked = BAD;
		return false;
	}
	int64_t offset = offset_of(frame, code);
	if (!is_incomplete(frame, code, offset) && !add(walk, code, offset > 0 ? (uint32_t)offset : 0))
		return false;
	return !is_entry(frame) || enter(walk);
}

uint16_t rqs_py_frames(const char *state, struct rqs_py_frame *frames, bool *more)
{
	struct walk walk = { .frames = frames };

	*more = false;
	if (rqs_unlikely(checked == UNKNOWN))
		check(state);
	if (checked != GOOD)
		return UINT16_MAX;
	const char *frame = pointer_at(state, layout.current);
	if (layout.held != NONE)
		frame = frame ? pointer_at(frame, layout.held) : NULL;
	for (int i = 0; i < STEPS && frame; i++) {
		if (!step(&walk, frame))
			break;
		frame = pointer_at(frame, layout.previous);
	}
	*more = walk.more;
	return checked == BAD ? UINT16_MAX : walk.count;
}

/*
 * From 3.12 on each thread keeps its own state, while it has the GIL. Before
 * there is one for all, the GIL's holder's: it is looked into only where it is
 * what this thread had, which another may have got after its end.
 */
bool rqs_py_frames_are_own(const char *state, const void *own)
{
	uintptr_t self;

	if (checked == BAD || !state)
		return false;
	if (rqs_py.minor >= 12)
		return true;
	__asm__("mov %%fs:0, %0" : "=r"(self)); /* pthread_self(), in both C libraries */
	return state == own && *(const uintptr_t *)(const void *)(state + layout.thread_id) == self;
}
