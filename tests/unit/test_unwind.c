/* test_unwind.c - from samples of this very process to frames; cut, random and broken ones. */
#include "unit.h"

#include "unwind/code.h"
#include "unwind/code_file.h"
#include "unwind/demangle.h"
#include "unwind/jit_map.h"
#include "unwind/rules.h"
#include "unwind/symbols.h"
#include "unwind/texts.h"

#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unwind.h>

enum { STACK = RQS_SAMPLE_STACK, DEEP = 40, LONGEST = 256 };

static struct rqs_code_frame frames[RQS_CODE_FRAMES];

/* ---- samples ---- */

#define CAPTURE(registers)                                                                                             \
	__asm__ volatile("leaq 0f(%%rip), %%rax\n0: movq %%rax, 0(%[to])\n"                                            \
			 "movq %%rsp, 8(%[to])\n movq %%rbp, 16(%[to])\n movq %%rbx, 24(%[to])\n"                      \
			 "movq %%r12, 32(%[to])\n movq %%r13, 40(%[to])\n movq %%r14, 48(%[to])\n"                     \
			 "movq %%r15, 56(%[to])\n"                                                                     \
			 :                                                                                             \
			 : [to] "r"(registers)                                                                         \
			 : "rax", "memory")

/* In memory of just its size, so that a read beyond it is seen by ASan. */
static struct rqs_sample_record *make_sample(const uint64_t *registers, const void *stack, size_t size)
{
	struct rqs_sample_record *sample = calloc(1, sizeof(*sample) + size);

	assert_non_null(sample);
	sample->size = (uint16_t)(sizeof(*sample) + size);
	sample->type = RQS_RECORD_SAMPLE;
	sample->flags = RQS_SAMPLE_MORE_STACK;
	sample->stack_bytes = (uint32_t)size;
	memcpy(sample->registers, registers, sizeof(sample->registers));
	memcpy(sample + 1, stack, size);
	return sample;
}

struct known {
	struct rqs_sample_record *sample;
	uint64_t addresses[LONGEST]; /* as libgcc tells them */
	int count;
};

/* The stack is this thread's own, and is read beyond what is of this function. */
__attribute__((noinline, no_sanitize("address"))) static size_t copy_stack(uint64_t *to, uint64_t from)
{
	pthread_attr_t attributes;
	void *start;
	size_t size, i;

	assert_int_equal(pthread_getattr_np(pthread_self(), &attributes), 0);
	pthread_attr_getstack(&attributes, &start, &size);
	pthread_attr_destroy(&attributes);
	for (i = 0; i < STACK / 8 && from + 8 * i < (uint64_t)start + size; i++)
		to[i] = ((volatile uint64_t *)from)[i];
	return 8 * i;
}

static _Unwind_Reason_Code note_address(struct _Unwind_Context *context, void *data)
{
	struct known *known = data;

	if (known->count < LONGEST)
		known->addresses[known->count++] = _Unwind_GetIP(context);
	return _URC_NO_REASON;
}

__attribute__((noipa)) static int leaf(struct known *known)
{
	static uint64_t stack[STACK / 8];
	uint64_t registers[RQS_SAMPLE_REGISTERS];

	known->count = 0;
	_Unwind_Backtrace(note_address, known);
	CAPTURE(registers);
	size_t size = copy_stack(stack, registers[RQS_SAMPLE_RSP]);
	known->sample = make_sample(registers, stack, size);
	return known->count;
}

__attribute__((noipa)) static int branch(struct known *known, int depth)
{
	volatile char room[100];

	room[0] = (char)depth;
	int below = depth ? branch(known, depth - 1) : leaf(known);
	__asm__ volatile("" : "+r"(below)); /* or else it is made a loop */
	return room[0] + below;
}

static int compare(const void *a, const void *b)
{
	static struct known *known;

	if (!a)
		known = (struct known *)(uintptr_t)b;
	else if (!known->sample)
		branch(known, 3);
	return 0;
}

static int procdir;

static struct rqs_code *own_code(void)
{
	struct rqs_code *code = rqs_code_new(procdir, RQS_RUNTIME_NATIVE);

	assert_non_null(code);
	return code;
}

static size_t addresses_of(size_t count, uint64_t *addresses)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (!frames[i].inlined && frames[i].kind != RQS_FRAME_NOTE)
			addresses[kept++] = frames[i].address;
	return kept;
}

/* All that was copied is as libgcc tells; but for where in the innermost function. */
static void check_equal(const struct known *known, size_t count, bool whole)
{
	uint64_t addresses[RQS_CODE_FRAMES];
	size_t kept = addresses_of(count, addresses);

	assert_true(kept <= (size_t)known->count && kept > 0);
	for (size_t i = 1; i < kept; i++)
		assert_int_equal(addresses[i], known->addresses[i]);
	if (whole)
		assert_int_equal(kept, known->count);
	else if (kept < (size_t)known->count)
		assert_int_equal(frames[count - 1].kind, RQS_FRAME_NOTE);
}

/* ---- right ones ---- */

static void test_own_stack(void **state)
{
	struct rqs_code *code = own_code();
	struct known known;

	(void)state;
	branch(&known, 5);
	size_t count = rqs_code_frames(code, known.sample, frames);
	check_equal(&known, count, true);
	for (size_t i = 0; i < 7; i++) {
		assert_string_equal(frames[i].function, i ? "branch" : "leaf");
		assert_string_equal(frames[i].module, "test_unwind");
		assert_non_null(strstr(frames[i].file, "tests/unit/test_unwind.c"));
		assert_true(frames[i].line > 0);
	}
	assert_true(frames[1].function == frames[2].function);
	assert_true(frames[1].line == frames[2].line);
	assert_true(frames[count - 1].kind == RQS_FRAME_NATIVE);
	free(known.sample);
	rqs_code_free(code);
}

/* Nothing is learnt the second time. */
static void test_again(void **state)
{
	struct rqs_code *code = own_code();
	struct known known;

	(void)state;
	branch(&known, 5);
	for (int round = 0; round < 3; round++)
		check_equal(&known, rqs_code_frames(code, known.sample, frames), true);
	free(known.sample);
	rqs_code_free(code);
}

/* Made-up registers in a sample are addresses of nothing. */
static void test_registers_of_trials(void **state)
{
	struct rqs_code *code = own_code();
	uint64_t registers[RQS_SAMPLE_REGISTERS], stack[64] = {0};

	(void)state;
	for (unsigned trial = 0; trial < 2; trial++) {
		rqs_rule_make_up(registers, (uint64_t)&test_registers_of_trials + 16, trial);
		struct rqs_sample_record *sample = make_sample(registers, stack, sizeof(stack));
		size_t count = rqs_code_frames(code, sample, frames);

		assert_string_equal(frames[0].function, "test_registers_of_trials");
		assert_true(count <= 3);
		free(sample);
	}
	rqs_code_free(code);
}

/* What a trial tells: the caller's stack begins where, and has which registers. */
static void test_rules(void **state)
{
	enum { SIZE = 0x80 };
	uint64_t made[RQS_SAMPLE_REGISTERS], callers[RQS_SAMPLE_REGISTERS], begin;
	struct rqs_rule rule = {0};

	(void)state;
	for (unsigned base = RQS_SAMPLE_RSP; base <= RQS_SAMPLE_RBP; base++) {
		rqs_rule_make_up(made, 0x1000, 1);
		memcpy(callers, made, sizeof(callers));
		callers[RQS_SAMPLE_RSP] = begin = made[base] + SIZE;
		assert_true(rqs_rule_word(begin - 8, &callers[RQS_SAMPLE_RIP]));
		assert_true(rqs_rule_word(begin - 16, &callers[RQS_SAMPLE_RBX]));
		assert_true(rqs_rule_learn(&rule, callers, 1));
		assert_int_equal(rule.base, base);
		assert_int_equal(rule.from_base, SIZE);
		assert_int_equal(rule.saved[RQS_SAMPLE_RIP], -8);
		assert_int_equal(rule.saved[RQS_SAMPLE_RBX], -16);
		assert_int_equal(rule.saved[RQS_SAMPLE_R12], RQS_RULE_KEPT);
		/* Of a trial of other values, of another register, of nothing that was made up. */
		assert_false(rqs_rule_learn(&rule, callers, 0));
		callers[RQS_SAMPLE_RBX] = made[RQS_SAMPLE_R12];
		assert_false(rqs_rule_learn(&rule, callers, 1));
		callers[RQS_SAMPLE_RBX] = made[RQS_SAMPLE_RBX];
		assert_true(rqs_rule_learn(&rule, callers, 1));
		callers[RQS_SAMPLE_RIP] = 0x2000;
		assert_false(rqs_rule_learn(&rule, callers, 1));
	}
	assert_false(rqs_rule_word((uint64_t)&rule, &begin));
}

static void test_through_the_c_library(void **state)
{
	struct rqs_code *code = own_code();
	struct known known = {0};
	int two[2] = {1, 2};

	(void)state;
	compare(NULL, &known);
	qsort(two, 2, sizeof(*two), compare);
	check_equal(&known, rqs_code_frames(code, known.sample, frames), true);
	free(known.sample);
	rqs_code_free(code);
}

static struct known interrupted;

static void on_signal(int number)
{
	(void)number;
	branch(&interrupted, 2);
}

static void test_through_a_signal(void **state)
{
	struct rqs_code *code = own_code();

	(void)state;
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	size_t count = rqs_code_frames(code, interrupted.sample, frames);
	check_equal(&interrupted, count, true);
	bool found = false;
	for (size_t i = 0; i < count; i++)
		found = found || !strcmp(frames[i].function, "test_through_a_signal");
	assert_true(found);
	free(interrupted.sample);
	rqs_code_free(code);
}

static void test_any_cut(void **state)
{
	struct rqs_code *code = own_code();
	struct known known;

	(void)state;
	branch(&known, DEEP);
	for (size_t size = 0; size <= known.sample->stack_bytes; size += 8) {
		struct rqs_sample_record *cut = make_sample(known.sample->registers, known.sample + 1, size);
		size_t count = rqs_code_frames(code, cut, frames);

		check_equal(&known, count, false);
		if (frames[count - 1].kind == RQS_FRAME_NOTE)
			assert_string_equal(frames[count - 1].function, "(truncated)");
		free(cut);
	}
	free(known.sample);
	rqs_code_free(code);
}

/* ---- wrong ones ---- */

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_word(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

/* What might be taken for a part of a stack. */
static uint64_t likely_word(const struct known *known)
{
	const uint64_t *stack = (const uint64_t *)(known->sample + 1);
	uint64_t rsp = known->sample->registers[RQS_SAMPLE_RSP], size = known->sample->stack_bytes;

	switch (random_word() % 6) {
	case 0:
		return random_word();
	case 1:
		return known->addresses[random_word() % (uint64_t)known->count] + random_word() % 64;
	case 2:
		return rsp + random_word() % size;
	case 3:
		return (rsp + random_word() % size) & ~7ull;
	case 4:
		return stack[random_word() % (size / 8)];
	default:
		return random_word() % 16;
	}
}

static void test_random_samples(void **state)
{
	struct rqs_code *code = own_code();
	struct known known;
	uint64_t registers[RQS_SAMPLE_REGISTERS], stack[STACK / 8];

	(void)state;
	branch(&known, 5);
	for (int round = 0; round < 3000; round++) {
		size_t size = random_word() % (known.sample->stack_bytes / 8 + 1);
		bool mostly_right = random_word() % 2;

		for (size_t i = 0; i < RQS_SAMPLE_REGISTERS; i++)
			registers[i] =
			    mostly_right && random_word() % 8 ? known.sample->registers[i] : likely_word(&known);
		for (size_t i = 0; i < size; i++)
			stack[i] = mostly_right && random_word() % 16 ? ((uint64_t *)(known.sample + 1))[i]
								      : likely_word(&known);
		struct rqs_sample_record *sample = make_sample(registers, stack, 8 * size);
		size_t count = rqs_code_frames(code, sample, frames);

		assert_true(count > 0 && count <= RQS_CODE_FRAMES);
		for (size_t i = 0; i < count; i++)
			assert_non_null(frames[i].function);
		free(sample);
	}
	free(known.sample);
	rqs_code_free(code);
}

/* ---- files ---- */

struct copy {
	char path[64];
	int fd;
	uint8_t *bytes; /* mapped from the file as code, all of it */
	size_t size;
	uint64_t start; /* where the program itself has the executable part that begins at `offset` of the file */
	uint64_t offset;
	struct rqs_code *code; /* that read it last, and has the texts */
};

static void write_copy(struct copy *copy, const uint8_t *bytes)
{
	assert_int_equal(pwrite(copy->fd, bytes, copy->size, 0), copy->size);
}

/* The executable part that has leaf(), by the program's headers. */
static void find_part(struct copy *copy, const uint8_t *bytes)
{
	const Elf64_Ehdr *head = (const Elf64_Ehdr *)bytes;
	const Elf64_Phdr *all = (const Elf64_Phdr *)(bytes + head->e_phoff);
	extern const char __ehdr_start[];

	for (unsigned i = 0; i < head->e_phnum; i++)
		if (all[i].p_type == PT_LOAD && all[i].p_flags & PF_X) {
			copy->start = (uint64_t)__ehdr_start + all[i].p_vaddr;
			copy->offset = all[i].p_offset;
		}
}

static uint8_t *make_copy(struct copy *copy)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	copy->code = NULL;
	copy->size = (size_t)status.st_size;
	uint8_t *bytes = malloc(copy->size);
	assert_int_equal(pread(fd, bytes, copy->size, 0), copy->size);
	close(fd);
	strcpy(copy->path, "/tmp/reqscope_unwind_XXXXXX");
	copy->fd = mkstemp(copy->path);
	write_copy(copy, bytes);
	find_part(copy, bytes);
	copy->bytes = mmap(NULL, copy->size, PROT_READ | PROT_EXEC, MAP_PRIVATE, copy->fd, 0);
	assert_ptr_not_equal(copy->bytes, MAP_FAILED);
	return bytes;
}

static void drop_copy(struct copy *copy)
{
	munmap(copy->bytes, copy->size);
	close(copy->fd);
	unlink(copy->path);
	rqs_code_free(copy->code);
}

static void without_header(uint8_t *bytes)
{
	const Elf64_Ehdr *head = (const Elf64_Ehdr *)bytes;
	Elf64_Phdr *all = (Elf64_Phdr *)(bytes + head->e_phoff);

	for (unsigned i = 0; i < head->e_phnum; i++)
		if (all[i].p_type == PT_GNU_EH_FRAME)
			all[i].p_type = PT_NULL;
}

/*
 * The same stack, but that its innermost function is said to be the copy's.
 * The file is mapped as a whole, so that its one executable mapping is at
 * other distances than linked: what is tested is what is made of that.
 */
static size_t frames_in_copy(struct copy *copy, const struct known *known)
{
	struct rqs_code *code = own_code();
	uint64_t registers[RQS_SAMPLE_REGISTERS];

	memcpy(registers, known->sample->registers, sizeof(registers));
	registers[RQS_SAMPLE_RIP] += (uint64_t)copy->bytes + copy->offset - copy->start;
	struct rqs_sample_record *sample = make_sample(registers, known->sample + 1, known->sample->stack_bytes);
	size_t count = rqs_code_frames(code, sample, frames);
	assert_true(count > 0 && count <= RQS_CODE_FRAMES);
	free(sample);
	rqs_code_free(copy->code);
	copy->code = code;
	return count;
}

static void test_file_without_table_of_functions(void **state)
{
	struct copy copy;
	struct known known;
	uint8_t *bytes = make_copy(&copy);

	(void)state;
	branch(&known, 4);
	munmap(copy.bytes, copy.size);
	without_header(bytes);
	write_copy(&copy, bytes);
	/* As a loader does: its parts at their distances. */
	const Elf64_Ehdr *head = (const Elf64_Ehdr *)bytes;
	const Elf64_Phdr *all = (const Elf64_Phdr *)(bytes + head->e_phoff);
	copy.bytes = mmap(NULL, 64 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < head->e_phnum; i++) {
		uint64_t skip = all[i].p_vaddr % 4096;

		if (all[i].p_type == PT_LOAD && !(all[i].p_flags & PF_W))
			assert_ptr_not_equal(mmap(copy.bytes + all[i].p_vaddr - skip, all[i].p_filesz + skip,
						  all[i].p_flags & PF_X ? PROT_READ | PROT_EXEC : PROT_READ,
						  MAP_PRIVATE | MAP_FIXED, copy.fd, (off_t)(all[i].p_offset - skip)),
					     MAP_FAILED);
	}
	extern const char __ehdr_start[];
	copy.offset = 0;
	copy.start = (uint64_t)__ehdr_start;
	size_t count = frames_in_copy(&copy, &known);
	check_equal(&known, count, true);
	assert_string_equal(frames[0].function, "leaf");
	assert_non_null(strstr(frames[0].module, "reqscope_unwind_"));
	copy.size = 64 << 20;
	drop_copy(&copy);
	free(known.sample);
	free(bytes);
}

static void test_broken_files(void **state)
{
	struct copy copy;
	struct known known;
	uint8_t *bytes = make_copy(&copy), *broken = malloc(copy.size);

	(void)state;
	branch(&known, 4);
	for (int round = 0; round < 60; round++) {
		memcpy(broken, bytes, copy.size);
		for (int i = 0; i < 1 << round % 12; i++) {
			size_t from = round % 3 ? 0 : copy.size - copy.size / 8; /* headers of parts, and of sections */

			broken[from + random_word() % (round % 2 ? copy.size - from : 1024)] = (uint8_t)random_word();
		}
		write_copy(&copy, broken);
		frames_in_copy(&copy, &known);
	}
	drop_copy(&copy);
	free(known.sample);
	free(broken);
	free(bytes);
}

static void test_cut_files(void **state)
{
	struct copy copy;
	struct known known;
	uint8_t *bytes = make_copy(&copy);

	(void)state;
	branch(&known, 4);
	for (int round = 0; round < 20; round++) {
		write_copy(&copy, bytes);
		assert_int_equal(ftruncate(copy.fd, (off_t)(random_word() % copy.size)), 0);
		frames_in_copy(&copy, &known);
	}
	assert_int_equal(ftruncate(copy.fd, 0), 0);
	frames_in_copy(&copy, &known);
	drop_copy(&copy);
	free(known.sample);
	free(bytes);
}

static void test_a_file_that_is_gone(void **state)
{
	struct copy copy;
	struct known known;
	uint8_t *bytes = make_copy(&copy);

	(void)state;
	branch(&known, 4);
	unlink(copy.path);
	frames_in_copy(&copy, &known);
	assert_non_null(strstr(frames[0].module, "reqscope_unwind_"));
	assert_null(strstr(frames[0].module, "deleted"));
	drop_copy(&copy);
	free(known.sample);
	free(bytes);
}

static void test_no_process(void **state)
{
	struct rqs_code *code = rqs_code_new(-1, RQS_RUNTIME_NATIVE);
	struct known known;

	(void)state;
	branch(&known, 1);
	size_t count = rqs_code_frames(code, known.sample, frames);
	assert_int_equal(count, 2);
	assert_memory_equal(frames[0].function, "0x", 2);
	assert_string_equal(frames[1].function, "(unknown code)");
	free(known.sample);
	rqs_code_free(code);
}

/* Where a stack would be there is a note, never what a register alone seems to say. */
static void test_no_room(void **state)
{
	static const uint8_t kinds[] = {RQS_SAMPLE_NATIVE, RQS_SAMPLE_PYTHON, RQS_SAMPLE_GO};
	struct rqs_code *code = own_code();
	struct known known;
	(void)state;

	branch(&known, 1);
	for (size_t i = 0; i < sizeof(kinds); i++) {
		struct rqs_sample_record *sample = make_sample(known.sample->registers, known.sample + 1, 0);

		sample->kind = kinds[i];
		sample->flags |= RQS_SAMPLE_NO_ROOM;
		assert_int_equal(rqs_code_frames(code, sample, frames), 1);
		assert_int_equal(frames[0].kind, RQS_FRAME_NOTE);
		assert_string_equal(frames[0].function, "(no room for its stack)");
		free(sample);
	}
	free(known.sample);
	rqs_code_free(code);
}

/* ---- names ---- */

/* As V8's builtins have them. */
__attribute__((noinline, noclone)) static uint64_t behind_a_label(void)
{
	uint64_t address;

	__asm__ volatile("nop\n a_label_inside: nop\n nop\n lea a_label_inside(%%rip), %0" : "=r"(address));
	return address + 1;
}

static void test_labels_are_no_functions(void **state)
{
	extern const Elf64_Ehdr __executable_start;
	uint64_t bias = getauxval(AT_ENTRY) - __executable_start.e_entry;
	struct rqs_code_file *file = rqs_code_file_get(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));

	(void)state;
	assert_non_null(file);
	const char *name = rqs_symbols_name(rqs_symbols_of(file, -1, "/proc/self/exe"), behind_a_label() - bias);
	assert_non_null(name);
	assert_string_equal(name, "behind_a_label");
	rqs_code_file_put(file);
}

static void test_script_names(void **state)
{
	static const struct {
		const char *name, *function, *file;
		uint32_t line;
	} all[] = {
	    {"LazyCompile:*fib /srv/app.js:3:13", "fib", "/srv/app.js", 3},
	    {"JS:~handle /srv/with space.js:120:7", "handle", "/srv/with space.js", 120},
	    {"Function:^a", "a", NULL, 0},
	    {"LazyCompile:~ node:internal/timers:438", "", "node:internal/timers", 438},
	    {"Script:~/srv/app.js:1:1", "/srv/app.js", NULL, 1},
	    {"JS:", "", NULL, 0},
	};
	struct rqs_script_name parts;

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		assert_true(rqs_script_name(all[i].name, &parts));
		assert_int_equal(parts.function_length, strlen(all[i].function));
		assert_memory_equal(parts.function, all[i].function, parts.function_length);
		assert_int_equal(parts.line, all[i].line);
		assert_int_equal(parts.file_length, all[i].file ? strlen(all[i].file) : 0);
		if (all[i].file)
			assert_memory_equal(parts.file, all[i].file, parts.file_length);
	}
	assert_false(rqs_script_name("RegExp:x(\\d)", &parts));
	assert_false(rqs_script_name("", &parts));
}

static void test_demangled(void **state)
{
	static const char *const all[][2] = {
	    {"_ZN3foo3barEi", "foo::bar(int)"},
	    {"_Znwm", "operator new(unsigned long)"},
	    {"_RNvCs1234_7mycrate3foo", "mycrate::foo"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		char *name = rqs_demangle(all[i][0]);

		assert_string_equal(name, all[i][1]);
		free(name);
	}
	assert_null(rqs_demangle("main"));
	assert_null(rqs_demangle("_Zfoo"));
	assert_null(rqs_demangle(""));
}

static void test_texts(void **state)
{
	struct rqs_texts texts = {0};
	const char *kept[3000];
	char text[16];

	(void)state;
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 3000; i++) {
			snprintf(text, sizeof(text), "%d", i);
			const char *now = rqs_texts_keep(&texts, text);

			assert_string_equal(now, text);
			if (round)
				assert_ptr_equal(now, kept[i]);
			kept[i] = now;
		}
	assert_ptr_equal(rqs_texts_keep_part(&texts, "12345", 2), kept[12]);
	rqs_texts_free(&texts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_own_stack),
	    cmocka_unit_test(test_through_the_c_library),
	    cmocka_unit_test(test_through_a_signal),
	    cmocka_unit_test(test_any_cut),
	    cmocka_unit_test(test_random_samples),
	    cmocka_unit_test(test_file_without_table_of_functions),
	    cmocka_unit_test(test_broken_files),
	    cmocka_unit_test(test_cut_files),
	    cmocka_unit_test(test_a_file_that_is_gone),
	    cmocka_unit_test(test_no_process),
	    cmocka_unit_test(test_no_room),
	    cmocka_unit_test(test_again),
	    cmocka_unit_test(test_registers_of_trials),
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_script_names),
	    cmocka_unit_test(test_demangled),
	    cmocka_unit_test(test_labels_are_no_functions),
	    cmocka_unit_test(test_texts),
	};

	procdir = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
