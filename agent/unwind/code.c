/* code.c - see code.h. */
#include "unwind/code.h"

#include "unwind/demangle.h"
#include "unwind/go_code.h"
#include "unwind/jit_map.h"
#include "unwind/modules.h"
#include "unwind/native_stack.h"
#include "unwind/python_code.h"
#include "unwind/python_merge.h"
#include "unwind/symbols.h"
#include "unwind/texts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INLINED 32u      /* frames at one address */
#define NAME_LIMIT 4096u /* bytes of a function's name that are kept */
#define PLACES 65536u    /* addresses that are kept: beyond them all are forgotten */

/* What an address was found to be: some frames, of which all but the last were inlined into the next. */
struct place {
	uint64_t address;              /* that was looked up */
	struct rqs_code_frame *frames; /* NULL: the place is empty */
	uint32_t count;
};

/* A Go program or plugin. */
struct go_object {
	bool sought;
	struct rqs_go_code *code; /* NULL: it is none */
};

struct rqs_code {
	uint64_t serial;
	uint32_t runtime;
	struct rqs_texts texts;
	struct rqs_modules modules;
	struct rqs_native *native;
	struct rqs_python_codes *python; /* NULL until there is a code object */
	struct rqs_jit_map *jit;         /* NULL until there is an address in such code */
	struct go_object *gos;           /* by the modules' objects */
	size_t go_count;
	struct place *places; /* open addressing */
	size_t place_count, place_room;
	uint64_t looks; /* of the modules, when the places were found */
};

/* ---- names ---- */

/* Compilers name the parts and variants that they make of a function after it. */
static size_t length_without_variant(const char *symbol)
{
	static const char *const variants[] = {".isra.", ".constprop.", ".part.",     ".cold",
					       ".llvm.", ".lto_priv.",  ".localalias"};
	size_t length = strnlen(symbol, NAME_LIMIT);
	const char *version = strchr(symbol, '@');

	if (version > symbol)
		length = (size_t)(version - symbol);
	for (size_t i = 0; i < sizeof(variants) / sizeof(*variants); i++) {
		const char *at = strstr(symbol, variants[i]);

		if (at > symbol && (size_t)(at - symbol) < length)
			length = (size_t)(at - symbol);
	}
	return length;
}

static const char *function_name(struct rqs_code *code, const char *symbol)
{
	const char *name = rqs_texts_keep_part(&code->texts, symbol, length_without_variant(symbol));
	char *plain = rqs_demangle(name);

	if (plain)
		name = rqs_texts_keep_part(&code->texts, plain, strnlen(plain, NAME_LIMIT));
	free(plain);
	return name;
}

static const char *nameless(struct rqs_code *code, uint64_t address)
{
	char name[32];

	snprintf(name, sizeof(name), "0x%" PRIx64, address);
	return rqs_texts_keep(&code->texts, name);
}

/* Without a symbol, functions are told apart by where they begin, as far as that is known. */
static const char *function_at(struct rqs_code *code, const struct rqs_symbols *symbols, uint64_t lookup,
			       uint64_t linked, const char *otherwise)
{
	const char *symbol = symbols ? rqs_symbols_name(symbols, linked) : NULL;

	if (symbol || otherwise)
		return function_name(code, symbol ? symbol : otherwise);
	uint64_t start = rqs_native_function(code->native, lookup);
	return nameless(code, start ? start - (lookup - linked) : linked);
}

static size_t name_in_object(struct rqs_code *code, const struct rqs_span *span, struct rqs_object *object,
			     uint64_t lookup, struct rqs_code_frame *frames)
{
	struct rqs_line lines[INLINED];
	uint64_t linked;
	size_t count = 0;

	frames[0].module = object->name;
	if (!rqs_modules_linked(&code->modules, span, lookup, &linked)) {
		frames[0].function = nameless(code, lookup);
		return 1;
	}
	struct rqs_symbols *symbols = rqs_symbols_of(object->file, code->modules.root, object->path);
	if (symbols)
		count = rqs_symbols_lines(symbols, linked, lines, INLINED);
	if (!count)
		lines[count++] = (struct rqs_line){0};
	for (size_t i = 0; i < count; i++) {
		const struct rqs_line *line = &lines[i];
		bool inlined = i + 1 < count;

		frames[i] = (struct rqs_code_frame){
		    .kind = RQS_FRAME_NATIVE, .module = object->name, .line = line->line, .inlined = inlined};
		frames[i].file = line->file ? rqs_texts_keep(&code->texts, line->file) : NULL;
		frames[i].function = inlined ? function_name(code, line->function ? line->function : "(inlined)")
					     : function_at(code, symbols, lookup, linked, line->function);
	}
	return count;
}

/* ---- Go ---- */

static struct rqs_go_code *open_go(const struct rqs_object *object)
{
	return object->file && object->file->fd >= 0 ? rqs_go_code_open(object->file->fd) : NULL;
}

static struct rqs_go_code *go_of(struct rqs_code *code, const struct rqs_span *span)
{
	const struct rqs_object *object = rqs_modules_object(&code->modules, span);

	if (!object || code->runtime != RQS_RUNTIME_GO)
		return NULL;
	if (span->object > code->go_count) {
		struct go_object *larger = realloc(code->gos, span->object * sizeof(*larger));

		if (!larger)
			return NULL;
		memset(larger + code->go_count, 0, (span->object - code->go_count) * sizeof(*larger));
		code->gos = larger;
		code->go_count = span->object;
	}
	struct go_object *go = &code->gos[span->object - 1];
	if (!go->sought)
		go->code = open_go(object);
	go->sought = true;
	return go->code;
}

/* A rqs_go_code_finder. */
static struct rqs_go_code *find_go(void *context, uint64_t address, uint64_t *bias)
{
	struct rqs_code *code = context;
	const struct rqs_span *span = rqs_modules_code(&code->modules, address);
	uint64_t linked;

	if (!span || !rqs_modules_linked(&code->modules, span, address, &linked))
		return NULL;
	*bias = address - linked;
	return go_of(code, span);
}

/* Their texts are the Go code's, which keeps each once by itself. */
static void adopt_go_frames(struct rqs_code *code, struct rqs_code_frame *frames, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct rqs_span *span = rqs_modules_at(&code->modules, frames[i].address);

		frames[i].function = rqs_texts_keep(&code->texts, frames[i].function);
		if (frames[i].file)
			frames[i].file = rqs_texts_keep(&code->texts, frames[i].file);
		if (span && span->object && frames[i].kind == RQS_FRAME_GO)
			frames[i].module = code->modules.objects[span->object - 1].name;
	}
}

/* Functions of Go's that C was called by. */
static size_t name_in_go(struct rqs_code *code, uint64_t lookup, struct rqs_code_frame *frames)
{
	uint64_t bias;
	struct rqs_go_code *go = find_go(code, lookup, &bias);
	size_t count = 0;

	if (go && rqs_go_code_has(go, lookup - bias))
		count = rqs_go_code_at(go, bias, lookup, false, frames, INLINED);
	adopt_go_frames(code, frames, count);
	return count;
}

/* ---- code that is made while the process runs ---- */

static size_t name_made(struct rqs_code *code, uint64_t lookup, struct rqs_code_frame *frame)
{
	struct rqs_script_name script;

	*frame = (struct rqs_code_frame){.function = "(JIT code)", .kind = RQS_FRAME_NATIVE};
	if (!code->jit)
		code->jit = rqs_jit_map_new(code->modules.procdir, code->modules.root);
	const char *name = code->jit ? rqs_jit_map_name(code->jit, lookup) : NULL;
	if (code->runtime == RQS_RUNTIME_NODE)
		frame->kind = RQS_FRAME_JAVASCRIPT;
	if (!name)
		return 1;
	if (!rqs_script_name(name, &script)) {
		frame->function = function_name(code, name);
		return 1;
	}
	frame->kind = RQS_FRAME_JAVASCRIPT;
	frame->function = script.function_length
			      ? rqs_texts_keep_part(&code->texts, script.function, script.function_length)
			      : "(anonymous)";
	frame->line = script.line;
	if (script.file_length)
		frame->file = rqs_texts_keep_part(&code->texts, script.file, script.file_length);
	return 1;
}

/* ---- addresses ---- */

static size_t name_address(struct rqs_code *code, uint64_t lookup, struct rqs_code_frame *frames)
{
	const struct rqs_span *span = rqs_modules_code(&code->modules, lookup);
	struct rqs_object *object = span ? rqs_modules_object(&code->modules, span) : NULL;
	size_t count = object ? name_in_go(code, lookup, frames) : 0;

	if (count)
		return count;
	if (object)
		return name_in_object(code, span, object, lookup, frames);
	if (span)
		return name_made(code, lookup, frames);
	frames[0] = (struct rqs_code_frame){.function = nameless(code, lookup), .kind = RQS_FRAME_NATIVE};
	return 1;
}

/* ---- places ---- */

static void forget_places(struct rqs_code *code)
{
	for (size_t i = 0; i < code->place_room; i++)
		free(code->places[i].frames);
	free(code->places);
	code->places = NULL;
	code->place_count = code->place_room = 0;
}

static struct place *place_at(struct place *places, size_t room, uint64_t address)
{
	size_t at = (address * 0x9e3779b97f4a7c15ull >> 20) & (room - 1);

	while (places[at].frames && places[at].address != address)
		at = (at + 1) & (room - 1);
	return &places[at];
}

static bool make_room(struct rqs_code *code)
{
	size_t room = code->place_room ? 2 * code->place_room : 256;

	if (2 * code->place_count < code->place_room)
		return true;
	struct place *larger = calloc(room, sizeof(*larger));
	if (!larger)
		return false;
	for (size_t i = 0; i < code->place_room; i++)
		if (code->places[i].frames)
			*place_at(larger, room, code->places[i].address) = code->places[i];
	free(code->places);
	code->places = larger;
	code->place_room = room;
	return true;
}

/* What a process maps anew may lie where something else was. */
static struct place *place_of(struct rqs_code *code, uint64_t lookup)
{
	struct rqs_code_frame frames[INLINED];

	if (code->looks != code->modules.looks || code->place_count >= PLACES)
		forget_places(code);
	code->looks = code->modules.looks;
	if (!make_room(code))
		return NULL;
	struct place *place = place_at(code->places, code->place_room, lookup);
	if (place->frames)
		return place;
	size_t count = name_address(code, lookup, frames);
	place->frames = malloc(count * sizeof(*frames));
	if (!place->frames)
		return NULL;
	memcpy(place->frames, frames, count * sizeof(*frames));
	place->address = lookup;
	place->count = (uint32_t)count;
	code->place_count++;
	return place;
}

/* As above, of an address that has been looked up; NULL: it hasn't. */
static const struct place *known_place(const struct rqs_code *code, uint64_t lookup)
{
	if (code->looks != code->modules.looks || !code->place_room)
		return NULL;
	const struct place *place = place_at(code->places, code->place_room, lookup);
	return place->frames ? place : NULL;
}

/* ---- stacks ---- */

struct stack {
	struct rqs_code *code;
	struct rqs_code_frame *frames;
	size_t count;
	unsigned addresses;
	struct rqs_python_reach reach;
	bool reached; /* the rest is left out by the merge */
	bool python;
};

static void push(struct stack *stack, const struct rqs_code_frame *frame, uint64_t address)
{
	if (stack->count == RQS_CODE_FRAMES)
		return;
	if (stack->python && !stack->reached)
		stack->reached = !rqs_python_reach_on(&stack->reach, frame);
	stack->frames[stack->count] = *frame;
	stack->frames[stack->count++].address = address;
}

static void push_note(struct stack *stack, const char *note)
{
	const struct rqs_code_frame frame = {.function = note, .kind = RQS_FRAME_NOTE};

	if (stack->count == RQS_CODE_FRAMES)
		stack->count--;
	push(stack, &frame, 0);
}

static bool is_ours(struct rqs_code *code, uint64_t address)
{
	const struct rqs_span *span = rqs_modules_at(&code->modules, address);

	return span && span->object && code->modules.objects[span->object - 1].ours;
}

static bool is_named(const struct rqs_code_frame *frame, const char *const *names)
{
	while (*names && strcmp(frame->function, *names) != 0)
		names++;
	return *names;
}

/* Where a C library keeps no unwind information, as musl, its beginnings of threads and programs end a stack as well.
 */
static bool is_beginning(const struct stack *stack)
{
	static const char *const beginnings[] = {"_start", "_start_c", "__libc_start_main", "libc_start_main_stage2",
						 "start",  "start_c",  "__clone",           "clone",
						 "clone3", NULL};
	static const char *const firsts[] = {"main", NULL};
	const struct rqs_code_frame *last = stack->frames + stack->count - 1;

	return (stack->count > 0 && is_named(last, beginnings)) || (stack->count > 1 && is_named(last - 1, firsts));
}

static void end_stack(struct stack *stack, enum rqs_native_end end, bool more)
{
	if (end == RQS_NATIVE_WHOLE || (end == RQS_NATIVE_UNKNOWN && is_beginning(stack)))
		return;
	push_note(stack,
		  end == RQS_NATIVE_ENOUGH || (end == RQS_NATIVE_CUT && more) ? "(truncated)" : "(unknown code)");
}

/* What lies in code that is made and thrown away all the time isn't kept for its address. */
static void push_native(struct rqs_code *code, struct stack *stack, const struct rqs_native_frame *native)
{
	uint64_t lookup = native->address - native->call;
	const struct place *place = known_place(code, lookup);
	struct rqs_code_frame made;

	if (!place && is_ours(code, lookup))
		return;
	const struct rqs_span *span = place ? NULL : rqs_modules_code(&code->modules, lookup);
	if (span && !span->object) {
		name_made(code, lookup, &made);
		push(stack, &made, native->address);
		return;
	}
	if (!place)
		place = place_of(code, lookup);
	for (uint32_t i = 0; place && i < place->count; i++)
		push(stack, &place->frames[i], native->address);
}

/* A rqs_native_visitor. */
static bool see_native(void *context, const struct rqs_native_frame *native)
{
	struct stack *stack = context;

	push_native(stack->code, stack, native);
	return ++stack->addresses < RQS_CODE_FRAMES && !stack->reached;
}

static size_t native_frames(struct rqs_code *code, const struct rqs_sample_record *sample,
			    struct rqs_code_frame *frames)
{
	struct stack stack = {.code = code, .frames = frames, .python = sample->frame_count > 0};
	const uint8_t *bytes = (const uint8_t *)(sample->frames + sample->frame_count);

	rqs_python_reach_begin(&stack.reach, sample);
	enum rqs_native_end end =
	    rqs_native_unwind(code->native, sample->registers, bytes, sample->stack_bytes, see_native, &stack);
	if (!stack.reached)
		end_stack(&stack, end, sample->flags & RQS_SAMPLE_MORE_STACK);
	return stack.count;
}

/* A rqs_python_namer. */
static bool name_python(void *context, const struct rqs_sample_frame *frame, struct rqs_code_frame *named)
{
	struct rqs_code *code = context;
	struct rqs_python_place place;

	if (!code->python || !rqs_python_codes_frame(code->python, frame->code, frame->offset, &place))
		return false;
	*named = (struct rqs_code_frame){.function = place.function,
					 .file = *place.file ? place.file : NULL,
					 .line = place.line,
					 .kind = RQS_FRAME_PYTHON};
	return true;
}

size_t rqs_code_frames(struct rqs_code *code, const struct rqs_sample_record *sample, struct rqs_code_frame *frames)
{
	size_t count;

	rqs_modules_refresh(&code->modules);
	if (sample->kind == RQS_SAMPLE_GO && !(sample->flags & RQS_SAMPLE_NO_ROOM)) {
		count = rqs_go_code_frames(find_go, code, sample, frames);
		adopt_go_frames(code, frames, count);
		return count;
	}
	count = sample->flags & RQS_SAMPLE_NO_ROOM ? 0 : native_frames(code, sample, frames);
	if (sample->frame_count)
		count = rqs_python_merge(name_python, code, sample, frames, count);
	if (!count)
		frames[count++] =
		    (struct rqs_code_frame){.function = "(no room for its stack)", .kind = RQS_FRAME_NOTE};
	return count;
}

bool rqs_code_knows_python(const struct rqs_code *code, uint32_t number)
{
	struct rqs_python_place place;

	return code->python && rqs_python_codes_frame(code->python, number, 0, &place);
}

void rqs_code_python(struct rqs_code *code, const struct rqs_code_record *record, size_t size)
{
	if (!code->python)
		code->python = rqs_python_codes_new();
	if (code->python)
		rqs_python_codes_take(code->python, record, size);
}

/* ---- */

uint64_t rqs_code_serial(const struct rqs_code *code)
{
	return code->serial;
}

struct rqs_code *rqs_code_new(int procdir, uint32_t runtime)
{
	static uint64_t serials;
	struct rqs_code *code = calloc(1, sizeof(*code));

	if (!code)
		return NULL;
	code->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
	code->runtime = runtime;
	rqs_modules_init(&code->modules, procdir, &code->texts);
	code->native = rqs_native_new(&code->modules);
	if (!code->native) {
		rqs_code_free(code);
		return NULL;
	}
	return code;
}

void rqs_code_free(struct rqs_code *code)
{
	if (!code)
		return;
	forget_places(code);
	for (size_t i = 0; i < code->go_count; i++)
		rqs_go_code_free(code->gos[i].code);
	free(code->gos);
	rqs_python_codes_free(code->python);
	rqs_jit_map_free(code->jit);
	rqs_native_free(code->native);
	rqs_modules_free(&code->modules);
	rqs_texts_free(&code->texts);
	free(code);
}
