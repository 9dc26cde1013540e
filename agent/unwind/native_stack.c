/* native_stack.c - see native_stack.h. */
#include "unwind/native_stack.h"

#include "unwind/eh_frame.h"
#include "unwind/remote.h"

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
	unsigned ahead;                   /* by how much the address lies behind the cursor's */
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
	for (unsigned i = 0; i < RQS_SAMPLE_REGISTERS; i++) {
		unw_word_t value = 0;

		unw_get_reg(cursor, (int)libunwinds[i], &value);
		native->registers[i] = value;
	}
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
	struct rqs_native unwinding = *native;
	unw_proc_info_t about = {0};

	native->reads_left = READS;
	native->size = 0;
	bool told = !find_proc_info(native->space, address, &about, 0, native);
	*native = unwinding;
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

/* One of libunwind's own guesses is undone, but for what it knows of signals. */
static enum step step_out(struct rqs_native *native, unw_cursor_t *cursor)
{
	unw_cursor_t before = *cursor;

	native->missed = false;
	native->ahead = 0;
	int more = unw_step(cursor);
	bool signal = unw_is_signal_frame(&before) > 0;
	if (!native->missed || (signal && more > 0))
		return more > 0 ? signal ? STEP_INTERRUPTED : STEP_CALLER : more ? STEP_FAILED : STEP_LAST;
	keep_registers(native, &before);
	if (!step_by_frame_pointer(native))
		return STEP_FAILED;
	/* Libunwind takes an address that it is started from for no caller's. */
	native->registers[RQS_SAMPLE_RIP]--;
	native->ahead = 1;
	return unw_init_remote(cursor, native->space, native) ? STEP_FAILED : STEP_CALLER;
}

static void begin(struct rqs_native *native, const uint64_t *registers, const uint8_t *stack, size_t size)
{
	memcpy(native->registers, registers, sizeof(native->registers));
	native->bottom = registers[RQS_SAMPLE_RSP];
	native->stack = stack;
	native->size = size;
	native->reads_left = READS;
	native->beyond = false;
	native->ahead = 0;
	if (native->looks != native->modules->looks)
		unw_flush_cache(native->space, 0, 0);
	native->looks = native->modules->looks;
}

enum rqs_native_end rqs_native_unwind(struct rqs_native *native, const uint64_t registers[RQS_SAMPLE_REGISTERS],
				      const uint8_t *stack, size_t size, rqs_native_visitor *visit, void *context)
{
	unw_cursor_t cursor;
	enum step step = STEP_INTERRUPTED;

	begin(native, registers, stack, size);
	if (unw_init_remote(&cursor, native->space, native))
		step = STEP_FAILED;
	while (step < STEP_LAST) {
		unw_word_t address = 0;

		unw_get_reg(&cursor, UNW_REG_IP, &address);
		const struct rqs_native_frame frame = {address + native->ahead, step == STEP_CALLER};
		if (!visit(context, &frame))
			return RQS_NATIVE_ENOUGH;
		step = step_out(native, &cursor);
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
