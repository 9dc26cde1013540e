/* native_stack.c - see native_stack.h. */
#include "unwind/native_stack.h"

#include "unwind/eh_frame.h"
#include "unwind/remote.h"
#include "unwind/rules.h"

#include <stdlib.h>
#include <string.h>

#define READS (1u << 18) /* of words, by one unwinding: tables may be made so that they never end */
#define CACHED 1024      /* functions */
#define WORD sizeof(unw_word_t)
/* Where a table of ours is said to lie: the kernel's half, where no program has anything. */
#define OWN_TABLE 0xffff900000000000ull
/* So near above the piece's end it is the stack that is asked for. */
#define STACK_REACH (64ull << 20)

struct rqs_native {
	struct rqs_modules *modules;
	unw_addr_space_t space;
	uint64_t looks;
	uint64_t registers[RQS_SAMPLE_REGISTERS];
	uint64_t bottom; /* the piece's first address */
	const uint8_t *stack;
	size_t size;
	uint32_t reads_left;
	const struct rqs_eh_frame *table; /* that lies at OWN_TABLE */
	bool missed;                      /* nothing is told of the function that was asked for */
	bool beyond;                      /* stack was asked for that wasn't copied */
	bool trying;                      /* with a stack that is made up */
	struct rqs_rule rules[RQS_RULES];
};

/* ---- memory ---- */

static bool read_stack(struct rqs_native *native, uint64_t address, unw_word_t *value)
{
	uint64_t at = address - native->bottom;

	if (at < native->size && native->size - at >= WORD) {
		memcpy(value, native->stack + at, WORD);
		return true;
	}
	if (at + WORD > native->size && at < native->size + STACK_REACH)
		native->beyond = true;
	return false;
}

static bool read_mapped(void *context, uint64_t address, void *bytes, uint64_t size)
{
	struct rqs_native *native = context;
	const struct rqs_span *span = rqs_modules_at(native->modules, address);
	const struct rqs_object *object = span ? rqs_modules_object(native->modules, span) : NULL;

	return object && object->file && size <= span->end - address &&
	       rqs_code_file_read(object->file, span->offset + (address - span->start), bytes, size);
}

/* Libunwind asks for whole words, also of what ends within one. */
static bool read_file_word(struct rqs_native *native, uint64_t address, unw_word_t *value)
{
	*value = 0;
	for (size_t size = WORD; size; size /= 2)
		if (read_mapped(native, address, value, size))
			return true;
	return false;
}

static int access_word(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write, void *context)
{
	struct rqs_native *native = context;

	(void)space;
	if (write || !native->reads_left)
		return -UNW_EINVAL;
	native->reads_left--;
	if (native->trying && rqs_rule_word(address, value))
		return 0;
	if (native->table && rqs_eh_frame_row(native->table, address - OWN_TABLE, value))
		return 0;
	return read_stack(native, address, value) || read_file_word(native, address, value) ? 0 : -UNW_EINVAL;
}

/* ---- registers ---- */

static const unw_regnum_t libunwinds[RQS_SAMPLE_REGISTERS] = {
    [RQS_SAMPLE_RIP] = UNW_X86_64_RIP, [RQS_SAMPLE_RSP] = UNW_X86_64_RSP, [RQS_SAMPLE_RBP] = UNW_X86_64_RBP,
    [RQS_SAMPLE_RBX] = UNW_X86_64_RBX, [RQS_SAMPLE_R12] = UNW_X86_64_R12, [RQS_SAMPLE_R13] = UNW_X86_64_R13,
    [RQS_SAMPLE_R14] = UNW_X86_64_R14, [RQS_SAMPLE_R15] = UNW_X86_64_R15};

static int access_register(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int write, void *context)
{
	const struct rqs_native *native = context;

	(void)space;
	for (unsigned i = 0; i < RQS_SAMPLE_REGISTERS && !write; i++)
		if (libunwinds[i] == number) {
			*value = native->registers[i];
			return 0;
		}
	return -UNW_EBADREG;
}

static void keep_registers(struct rqs_native *native, unw_cursor_t *cursor)
{
	uint64_t values[RQS_SAMPLE_REGISTERS] = {0};

	for (unsigned i = 0; i < RQS_SAMPLE_REGISTERS; i++) {
		unw_word_t value = 0;

		unw_get_reg(cursor, (int)libunwinds[i], &value);
		values[i] = value;
	}
	memcpy(native->registers, values, sizeof(values));
}

/* ---- what is told of functions ---- */

static bool table_of(struct rqs_native *native, const struct rqs_span *span, struct rqs_remote_table *table)
{
	const struct rqs_object *object = rqs_modules_object(native->modules, span);
	struct rqs_code_file *file = object ? object->file : NULL;
	uint64_t linked;

	native->table = NULL;
	if (!file || !rqs_modules_linked(native->modules, span, span->start, &linked))
		return false;
	uint64_t bias = span->start - linked;
	if (file->frame_header && rqs_remote_table_read(table, bias + file->frame_header, read_mapped, native))
		return true;
	native->table = rqs_eh_frame_of(file);
	if (!native->table)
		return false;
	*table = (struct rqs_remote_table){.base = bias + rqs_eh_frame_base(native->table),
					   .rows = OWN_TABLE,
					   .count = rqs_eh_frame_count(native->table)};
	return true;
}

static int find_proc_info(unw_addr_space_t space, unw_word_t address, unw_proc_info_t *about, int whole, void *context)
{
	struct rqs_native *native = context;
	const struct rqs_span *span = rqs_modules_code(native->modules, address);
	struct rqs_remote_table table;
	int error = -UNW_ENOINFO;

	if (span && table_of(native, span, &table))
		error = rqs_remote_search(&table, space, address, about, whole, context);
	if (error)
		native->missed = true;
	return error;
}

uint64_t rqs_native_function(struct rqs_native *native, uint64_t address)
{
	size_t size = native->size;
	uint32_t reads_left = native->reads_left;
	unw_proc_info_t about = {0};

	native->reads_left = READS;
	native->size = 0;
	bool told = !find_proc_info(native->space, address, &about, 0, native);
	native->reads_left = reads_left;
	native->size = size;
	return told ? about.start_ip : 0;
}

/* ---- frame pointers ---- */

/* Of code that the process made itself the bytes aren't known. */
static bool follows_call(struct rqs_native *native, uint64_t address)
{
	const struct rqs_span *span = rqs_modules_code(native->modules, address - 1);
	uint8_t code[7]; /* up to the address */

	if (!span || !span->object)
		return span;
	if (!read_mapped(native, address - sizeof(code), code, sizeof(code)))
		return false;
	if (code[2] == 0xe8)
		return true;
	for (unsigned at = 0; at < 6; at++) /* through a register or memory: FF /2 */
		if (code[at] == 0xff && (code[at + 1] & 0x38) == 0x10)
			return true;
	return false;
}

static bool step_by_frame_pointer(struct rqs_native *native)
{
	uint64_t *registers = native->registers, frame = registers[RQS_SAMPLE_RBP];
	unw_word_t caller, outer;

	if (frame % WORD || frame < registers[RQS_SAMPLE_RSP] || !read_stack(native, frame, &outer) ||
	    !read_stack(native, frame + WORD, &caller) || caller < 2 || !follows_call(native, caller))
		return false;
	registers[RQS_SAMPLE_RIP] = caller;
	registers[RQS_SAMPLE_RSP] = frame + 2 * WORD;
	registers[RQS_SAMPLE_RBP] = outer;
	return true;
}

/* ---- steps ---- */

enum step { STEP_CALLER, STEP_INTERRUPTED, STEP_LAST, STEP_FAILED };

/* Libunwind takes an address that it is started from for no caller's. */
static bool start(struct rqs_native *native, unw_cursor_t *cursor, bool call)
{
	native->missed = false;
	native->registers[RQS_SAMPLE_RIP] -= call;
	bool started = !unw_init_remote(cursor, native->space, native);
	native->registers[RQS_SAMPLE_RIP] += call;
	return started;
}

/* One of libunwind's own guesses is undone, but for what it knows of signals. */
static enum step step_by_libunwind(struct rqs_native *native, unw_cursor_t *cursor)
{
	unw_cursor_t before = *cursor;

	native->missed = false;
	int more = unw_step(cursor);
	bool signal = unw_is_signal_frame(&before) > 0;
	if (native->missed && !(signal && more > 0)) {
		keep_registers(native, &before);
		return step_by_frame_pointer(native) ? STEP_CALLER : STEP_FAILED;
	}
	if (more <= 0)
		return more ? STEP_FAILED : STEP_LAST;
	keep_registers(native, cursor);
	return signal ? STEP_INTERRUPTED : STEP_CALLER;
}

static bool try_rule(struct rqs_native *native, struct rqs_rule *rule, unsigned trial)
{
	unw_cursor_t cursor;

	rqs_rule_make_up(native->registers, rule->address, trial);
	if (!start(native, &cursor, false) || unw_is_signal_frame(&cursor) > 0 || unw_step(&cursor) <= 0 ||
	    native->missed)
		return false;
	keep_registers(native, &cursor);
	return rqs_rule_learn(rule, native->registers, trial);
}

static void learn_rule(struct rqs_native *native, struct rqs_rule *rule, uint64_t address)
{
	uint64_t registers[RQS_SAMPLE_REGISTERS];
	struct rqs_rule again = {.address = address};

	memcpy(registers, native->registers, sizeof(registers));
	native->trying = true;
	*rule = again;
	rule->simple = try_rule(native, rule, 0) && try_rule(native, &again, 1) && rule->base == again.base &&
		       rule->from_base == again.from_base && !memcmp(rule->saved, again.saved, sizeof(again.saved));
	native->trying = false;
	memcpy(native->registers, registers, sizeof(registers));
}

/*
 * In its last instructions a function has popped its caller's registers, of
 * which GCC's tables don't tell. What lies below the stack isn't copied.
 */
static bool was_taken_back(const struct rqs_native *native, unsigned number, uint64_t saved)
{
	return number != RQS_SAMPLE_RIP && saved < native->registers[RQS_SAMPLE_RSP];
}

/* False: nothing was done. */
static bool step_by_rule(struct rqs_native *native, bool call)
{
	uint64_t callers[RQS_SAMPLE_REGISTERS], address = native->registers[RQS_SAMPLE_RIP] - call;
	struct rqs_rule *rule = rqs_rule_at(native->rules, address);

	if (rule->address != address)
		learn_rule(native, rule, address);
	uint64_t begin = native->registers[rule->base] + (uint64_t)(int64_t)rule->from_base;
	if (!rule->simple || begin <= native->registers[RQS_SAMPLE_RSP])
		return false;
	for (unsigned i = 0; i < RQS_SAMPLE_REGISTERS; i++) {
		uint64_t saved = begin + (uint64_t)(int64_t)rule->saved[i];
		unw_word_t value = native->registers[i];

		if (rule->saved[i] != RQS_RULE_KEPT && !was_taken_back(native, i, saved) &&
		    !read_stack(native, saved, &value))
			return false;
		callers[i] = value;
	}
	callers[RQS_SAMPLE_RSP] = begin;
	if (!callers[RQS_SAMPLE_RIP])
		return false;
	memcpy(native->registers, callers, sizeof(callers));
	return true;
}

static void begin(struct rqs_native *native, const uint64_t *registers, const uint8_t *stack, size_t size)
{
	memcpy(native->registers, registers, sizeof(native->registers));
	native->bottom = registers[RQS_SAMPLE_RSP];
	native->stack = stack;
	native->size = size;
	native->reads_left = READS;
	native->beyond = false;
	if (native->looks != native->modules->looks) {
		unw_flush_cache(native->space, 0, 0);
		memset(native->rules, 0, sizeof(native->rules));
	}
	native->looks = native->modules->looks;
}

enum rqs_native_end rqs_native_unwind(struct rqs_native *native, const uint64_t registers[RQS_SAMPLE_REGISTERS],
				      const uint8_t *stack, size_t size, rqs_native_visitor *visit, void *context)
{
	unw_cursor_t cursor;
	enum step step = STEP_INTERRUPTED;
	bool live = false; /* the cursor is at the frame */

	begin(native, registers, stack, size);
	while (step < STEP_LAST) {
		bool call = step == STEP_CALLER;
		const struct rqs_native_frame frame = {native->registers[RQS_SAMPLE_RIP], call};

		if (!visit(context, &frame))
			return RQS_NATIVE_ENOUGH;
		if (!live && step_by_rule(native, call)) {
			step = STEP_CALLER;
			continue;
		}
		step = live || start(native, &cursor, call) ? step_by_libunwind(native, &cursor) : STEP_FAILED;
		/* What a signal interrupted may need registers that a sample doesn't have, but the signal's frame. */
		live = step == STEP_INTERRUPTED;
	}
	return step == STEP_LAST ? RQS_NATIVE_WHOLE : native->beyond ? RQS_NATIVE_CUT : RQS_NATIVE_UNKNOWN;
}

/* ---- */

struct rqs_native *rqs_native_new(struct rqs_modules *modules)
{
	struct rqs_native *native = calloc(1, sizeof(*native));

	if (!native)
		return NULL;
	native->modules = modules;
	native->space = rqs_remote_space(find_proc_info, access_word, access_register);
	if (!native->space) {
		free(native);
		return NULL;
	}
	unw_set_cache_size(native->space, CACHED, 0);
	return native;
}

void rqs_native_free(struct rqs_native *native)
{
	if (!native)
		return;
	unw_destroy_addr_space(native->space);
	free(native);
}
