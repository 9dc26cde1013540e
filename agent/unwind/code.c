/* code.c - see code.h. */
#include "unwind/code.h"

#include "unwind/demangle.h"
#include "unwind/modules.h"
#include "unwind/native_stack.h"
#include "unwind/symbols.h"
#include "unwind/texts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INLINED 32u      /* frames at one address */
#define NAME_LIMIT 1024u /* bytes of a function's name that are kept */
#define PLACES 65536u    /* addresses that are kept: beyond them all are forgotten */

/* What an address was found to be: some frames, of which all but the last were inlined into the next. */
struct place {
	uint64_t key; /* what is looked up, 1 added; 0 empty */
	struct rqs_code_frame *frames;
	uint32_t count;
};

struct rqs_code {
	uint32_t runtime;
	struct rqs_texts texts;
	struct rqs_modules modules;
	struct rqs_native *native;
	struct place *places; /* open addressing */
	size_t place_count, place_room;
	uint64_t looks; /* of the modules, when the places were found */
	struct rqs_native_frame addresses[RQS_CODE_FRAMES];
};

/* ---- names ---- */

static const char *function_name(struct rqs_code *code, const char *symbol)
{
	char *plain = rqs_demangle(symbol);
	const char *name = plain ? plain : symbol, *version = plain ? NULL : strchr(name, '@');
	size_t length = version > name ? (size_t)(version - name) : strlen(name);
	const char *kept = rqs_texts_keep_part(&code->texts, name, length < NAME_LIMIT ? length : NAME_LIMIT);

	free(plain);
	return kept;
}

static const char *nameless(struct rqs_code *code, uint64_t address)
{
	char name[32];

	snprintf(name, sizeof(name), "0x%" PRIx64, address);
	return rqs_texts_keep(&code->texts, name);
}

/* Without a symbol, functions are told apart by where they begin, as far as that is known. */
static size_t name_in_object(struct rqs_code *code, const struct rqs_span *span, struct rqs_object *object,
			     uint64_t lookup, struct rqs_code_frame *frame)
{
	uint64_t linked;

	frame->module = object->name;
	if (!rqs_modules_linked(&code->modules, span, lookup, &linked)) {
		frame->function = nameless(code, lookup);
		return 1;
	}
	struct rqs_symbols *symbols = rqs_symbols_of(object->file, code->modules.root, object->path);
	const char *symbol = symbols ? rqs_symbols_name(symbols, linked) : NULL;
	uint64_t start = symbol ? 0 : rqs_native_function(code->native, lookup);

	frame->function =
	    symbol ? function_name(code, symbol) : nameless(code, start ? start - (lookup - linked) : linked);
	return 1;
}

static size_t name_address(struct rqs_code *code, uint64_t lookup, struct rqs_code_frame *frames)
{
	const struct rqs_span *span = rqs_modules_code(&code->modules, lookup);
	struct rqs_object *object = span ? rqs_modules_object(&code->modules, span) : NULL;

	frames[0] = (struct rqs_code_frame){.kind = RQS_FRAME_NATIVE};
	if (object)
		return name_in_object(code, span, object, lookup, frames);
	frames[0].function = span ? "(JIT code)" : nameless(code, lookup);
	if (span && code->runtime == RQS_RUNTIME_NODE)
		frames[0].kind = RQS_FRAME_JAVASCRIPT;
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

static struct place *place_at(struct place *places, size_t room, uint64_t key)
{
	size_t at = (key * 0x9e3779b97f4a7c15ull >> 20) & (room - 1);

	while (places[at].key && places[at].key != key)
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
		if (code->places[i].key)
			*place_at(larger, room, code->places[i].key) = code->places[i];
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
	struct place *place = place_at(code->places, code->place_room, lookup + 1);
	if (place->key)
		return place;
	size_t count = name_address(code, lookup, frames);
	place->frames = malloc(count * sizeof(*frames));
	if (!place->frames)
		return NULL;
	memcpy(place->frames, frames, count * sizeof(*frames));
	place->key = lookup + 1;
	place->count = (uint32_t)count;
	code->place_count++;
	return place;
}

/* ---- stacks ---- */

struct stack {
	struct rqs_code_frame *frames;
	size_t count;
};

static void push(struct stack *stack, const struct rqs_code_frame *frame, uint64_t address)
{
	if (stack->count == RQS_CODE_FRAMES)
		return;
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

/* Where a C library keeps no unwind information, as musl, its beginnings of threads and programs end a stack as well.
 */
static bool is_beginning(const char *function)
{
	static const char *const beginnings[] = {
	    "_start", "_start_c", "__libc_start_main", "libc_start_main_stage2", "start", "__clone", "clone",
	    "clone3", "start_c"};

	for (size_t i = 0; i < sizeof(beginnings) / sizeof(*beginnings); i++)
		if (!strcmp(function, beginnings[i]))
			return true;
	return false;
}

static void end_stack(struct stack *stack, enum rqs_native_end end, bool more)
{
	const struct rqs_code_frame *last = stack->count ? &stack->frames[stack->count - 1] : NULL;

	if (end == RQS_NATIVE_WHOLE || (end == RQS_NATIVE_UNKNOWN && last && is_beginning(last->function)))
		return;
	push_note(stack, end == RQS_NATIVE_LONG || (end == RQS_NATIVE_CUT && more) ? "(truncated)" : "(unknown code)");
}

static void push_native(struct rqs_code *code, struct stack *stack, const struct rqs_native_frame *native)
{
	uint64_t lookup = native->address - native->call;
	const struct place *place = is_ours(code, lookup) ? NULL : place_of(code, lookup);

	for (uint32_t i = 0; place && i < place->count; i++)
		push(stack, &place->frames[i], native->address);
}

void rqs_code_python(struct rqs_code *code, const struct rqs_code_record *record, size_t size)
{
	(void)code, (void)record, (void)size;
}

size_t rqs_code_frames(struct rqs_code *code, const struct rqs_sample_record *sample, struct rqs_code_frame *frames)
{
	struct stack stack = {.frames = frames};
	enum rqs_native_end end;

	rqs_modules_refresh(&code->modules);
	size_t count =
	    rqs_native_unwind(code->native, sample->registers, (const uint8_t *)(sample->frames + sample->frame_count),
			      sample->stack_bytes, code->addresses, RQS_CODE_FRAMES, &end);
	for (size_t i = 0; i < count; i++)
		push_native(code, &stack, &code->addresses[i]);
	end_stack(&stack, end, sample->flags & RQS_SAMPLE_MORE_STACK);
	return stack.count;
}

/* ---- */

struct rqs_code *rqs_code_new(int procdir, uint32_t runtime)
{
	struct rqs_code *code = calloc(1, sizeof(*code));

	if (!code)
		return NULL;
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
	rqs_native_free(code->native);
	rqs_modules_free(&code->modules);
	rqs_texts_free(&code->texts);
	free(code);
}
