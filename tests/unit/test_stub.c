/* test_stub.c - stubs are built for small functions made by hand, and run. */
#include "unit.h"

#include "inject/stub.h"

#define PAGE 4096

/* A hook changes nothing. It is far from mapped pages: the program lies elsewhere. */
__asm__(".text\n"
	"hit_by_asm: incq hits_of_asm(%rip)\n"
	"ret\n"
	".local hits_of_asm\n"
	".comm hits_of_asm, 8, 8\n");
extern uint64_t hits_of_asm __attribute__((visibility("hidden")));
extern const uint8_t hit_by_asm[] __attribute__((visibility("hidden")));

/* A hook that notes its arguments, and changes whatever it may. */
struct arguments {
	uint64_t goroutine, old, new;
	uint64_t sp, mark_sp; /* the hook's own, and what the thread below has */
};
extern struct arguments noted __attribute__((visibility("hidden")));
struct arguments noted;
extern const uint8_t noting_by_asm[] __attribute__((visibility("hidden")));
__asm__(".text\n"
	"noting_by_asm: mov %rax, noted(%rip)\n"
	"mov %rbx, noted+8(%rip)\n"
	"mov %rcx, noted+16(%rip)\n"
	"mov %rsp, noted+24(%rip)\n"
	"mov thread_of_asm(%rip), %rcx; mov 0x88(%rcx), %rcx; mov %rcx, noted+32(%rip)\n"
	"mov $-1, %rax; mov %rax, %rbx; mov %rax, %rcx; mov %rax, %rdx; mov %rax, %rsi; mov %rax, %rdi\n"
	"mov %rax, %r8; mov %rax, %r9; mov %rax, %r10; mov %rax, %r11; mov %rax, %r12; mov %rax, %r13\n"
	"ret\n");

/* A thread, as far as stubs mark in it where a hook was called; and what a hook found there, with the site's stack pointer. */
enum { THREAD_PC = 0x80, THREAD_SP = 0x88 };
static uint64_t thread[32], its_goroutine[16];
struct mark {
	uint64_t pc, sp, expected_sp;
};
extern struct mark mark_seen __attribute__((visibility("hidden")));
struct mark mark_seen;
extern uint64_t *thread_of_asm __attribute__((visibility("hidden")));
uint64_t *thread_of_asm = thread;
extern const uint8_t looking_by_asm[] __attribute__((visibility("hidden")));
uint64_t call_as_goroutine(uint64_t one, uint64_t other, const void *function, const void *g);
__asm__(".text\n"
	"looking_by_asm: push %rax; push %rcx\n"
	"mov thread_of_asm(%rip), %rcx\n"
	"mov 0x80(%rcx), %rax; mov %rax, mark_seen(%rip)\n"
	"mov 0x88(%rcx), %rax; mov %rax, mark_seen+8(%rip)\n"
	"lea 24(%rsp), %rax; mov %rax, mark_seen+16(%rip)\n"
	"pop %rcx; pop %rax\n"
	"mov $-1, %r11\n"
	"ret\n"
	"call_as_goroutine: push %r14\n"
	"mov %rcx, %r14\n"
	"call *%rdx\n"
	"pop %r14\n"
	"ret\n");

/* `cmp %rsi,%rdi; jbe 1f; lea 1(%rdi,%rsi),%rax; ret; 1: mov $7,%eax; ret` */
static const uint8_t compare[] = {0x48, 0x39, 0xf7, 0x76, 0x06, 0x48, 0x8d, 0x44, 0x37,
				  0x01, 0xc3, 0xb8, 0x07, 0x00, 0x00, 0x00, 0xc3};

static uint8_t *pages; /* two: a function, its stubs */
static char why[RQS_REASON];
static struct rqs_patch patch;
static size_t patched;

static int map(void **state)
{
	(void)state;
	pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return pages == MAP_FAILED;
}

static uint64_t address_of(const void *pointer)
{
	return (uint64_t)(uintptr_t)pointer;
}

static struct rqs_site site_for(const uint8_t *code, size_t size, uint8_t length, uint8_t before)
{
	struct rqs_site site = {.kind = RQS_SITE_ALLOC, .length = length, .before = before, .name = "f"};

	memset(pages, 0xcc, 2 * PAGE);
	memcpy(pages, code, size);
	memcpy(site.code, code, length);
	/* Linked as if at 0x1000: the bias makes up for it. */
	site.address = 0x1000;
	return site;
}

static bool marking; /* in the thread above */

static size_t build_at(struct rqs_site *site, uint64_t entry, uint64_t base, uint8_t *bytes)
{
	struct rqs_plan plan = {.sites = site, .site_count = 1};
	uint64_t entries[RQS_SITE_KINDS] = {0};

	if (marking) {
		plan.vdso_pc_offset = THREAD_PC;
		plan.vdso_sp_offset = THREAD_SP;
	}
	entries[site->kind] = entry;
	size_t size = rqs_stubs_build(&plan, address_of(pages) - 0x1000, entries, base, bytes, &patch, &patched, why);
	assert_true(size <= rqs_stubs_room(1));
	assert_int_equal(size == 0, why[0] != 0);
	return size;
}

/* Builds the stub beside the function and puts the jump in. */
static void hook(struct rqs_site *site, uint64_t entry)
{
	assert_true(build_at(site, entry, address_of(pages + PAGE), pages + PAGE) > 0);
	assert_int_equal(patched, 1);
	assert_int_equal(patch.address, address_of(pages));
	assert_true(patch.length >= 5 && patch.length <= site->length);
	assert_memory_equal(patch.before, pages, patch.length);
	assert_int_equal(patch.after[0], 0xe9);
	memcpy(pages, patch.after, patch.length);
}

static uint64_t call(uint64_t one, uint64_t other)
{
	its_goroutine[0x30 / 8] = address_of(thread);
	return call_as_goroutine(one, other, pages, its_goroutine);
}

static void what_comes_before_the_hook_may_leave(void **state)
{
	(void)state;
	struct rqs_site site = site_for(compare, sizeof(compare), 5, 5);

	hook(&site, address_of(hit_by_asm));
	uint64_t hits = hits_of_asm;
	assert_int_equal(call(5, 3), 9);
	assert_int_equal(hits_of_asm, hits + 1);
	assert_int_equal(call(3, 5), 7); /* the jump is taken before the hook */
	assert_int_equal(hits_of_asm, hits + 1);
}

static void what_comes_after_the_hook_is_replayed(void **state)
{
	(void)state;
	struct rqs_site site = site_for(compare, sizeof(compare), 10, 0);

	hook(&site, address_of(hit_by_asm));
	uint64_t hits = hits_of_asm;
	assert_int_equal(call(5, 3), 9);
	assert_int_equal(call(3, 5), 7);
	assert_int_equal(hits_of_asm, hits + 2);
	assert_int_equal(patch.length, 5); /* whole instructions, no more than needed */
	assert_memory_equal(pages + 5, compare + 5, sizeof(compare) - 5);
}

/* `incq counter(%rip); ret`, behind the function: near enough for a relative call. */
static void a_near_hook_is_called_directly(void **state)
{
	(void)state;
	static const uint8_t near[] = {0x48, 0xff, 0x05, 0x01, 0x00, 0x00, 0x00, 0xc3};
	struct rqs_site site = site_for(compare, sizeof(compare), 5, 5);
	uint64_t counted;

	memcpy(pages + 64, near, sizeof(near));
	memset(pages + 64 + sizeof(near), 0, 8);
	hook(&site, address_of(pages + 64));
	assert_int_equal(call(5, 3), 9);
	memcpy(&counted, pages + 64 + sizeof(near), 8);
	assert_int_equal(counted, 1);
}

static void addresses_relative_to_the_instruction_move(void **state)
{
	(void)state;
	/* `mov 9(%rip),%rax; add $1,%rax; ret`, and at 16 what is loaded */
	static const uint8_t load[] = {0x48, 0x8b, 0x05, 0x09, 0x00, 0x00, 0x00, 0x48, 0x83, 0xc0, 0x01, 0xc3};
	struct rqs_site site = site_for(load, sizeof(load), 11, 0);
	uint64_t value = 41;

	memcpy(pages + 16, &value, 8);
	hook(&site, address_of(hit_by_asm));
	assert_int_equal(patch.length, 7);
	assert_int_equal(call(0, 0), 42);
}

static void an_immediate_behind_the_distance_stays(void **state)
{
	(void)state;
	static const uint8_t code[] = {0x48, 0x83, 0x3d, 0x18, 0x00, 0x00, 0x00, 0x07, /* cmpq $7,24(%rip): at 32 */
				       0x0f, 0x94, 0xc0, 0x0f, 0xb6, 0xc0, 0xc3}; /* sete %al; movzbl %al,%eax; ret */
	struct rqs_site site = site_for(code, sizeof(code), 8, 0);
	uint64_t value = 7;

	memcpy(pages + 32, &value, 8);
	hook(&site, address_of(hit_by_asm));
	assert_int_equal(call(0, 0), 1);
	pages[32] = 8;
	assert_int_equal(call(0, 0), 0);
}

/*
 * Goroutine and new status in one pair of registers, the old status is 2; what
 * the registers hold is looked at after the hook, too.
 */
static void check_copy(uint8_t goroutine, uint8_t status)
{
	enum { AT = 14, LENGTH = 9 };
	uint8_t code[] = {
		0x53,				      /* push %rbx */
		0x49, 0x89, 0xf8,		      /* mov %rdi,%r8 */
		0x57, 0x56,			      /* push %rdi; push %rsi */
		0x41, (uint8_t)(0x58 + status % 8),   /* pop status */
		0x41, (uint8_t)(0x58 + goroutine % 8), /* pop goroutine */
		0x6a, 0x02, 0x58, 0x90,		      /* push $2; pop %rax; nop */
		0xf0, 0x40, 0x0f, 0xb1, 0x80, 0x90, 0x00, 0x00, 0x00, /* lock cmpxchg status,0x90(goroutine) */
		0x0f, 0x94, 0xc0, 0x0f, 0xb6, 0xc0,   /* sete %al; movzbl %al,%eax */
		0x4c, 0x01, 0xc0,		      /* add %r8,%rax */
		0x5b, 0xc3,			      /* pop %rbx; ret */
	};
	uint32_t memory[64] = {[0x90 / 4] = 2};

	code[6] = status < 8 ? 0x40 : 0x41;
	code[8] = goroutine < 8 ? 0x40 : 0x41;
	code[AT + 1] = (uint8_t)(0x40 | (status > 7) << 2 | (goroutine > 7));
	code[AT + 4] = (uint8_t)(0x80 | (status % 8) << 3 | goroutine % 8);
	struct rqs_site site = site_for(code, sizeof(code), LENGTH, 0);
	site.address += AT;
	site.copied = true;
	site.goroutine = goroutine;
	site.status = status;
	memcpy(site.code, code + AT, LENGTH);
	assert_true(build_at(&site, address_of(noting_by_asm), address_of(pages + PAGE), pages + PAGE) > 0);
	memcpy(pages + AT, patch.after, patch.length);
	assert_int_equal(call(address_of(memory), 4), address_of(memory) + 1);
	assert_int_equal(noted.goroutine, address_of(memory));
	assert_int_equal(noted.old, 2);
	assert_int_equal(noted.new, 4);
	assert_int_equal(memory[0x90 / 4], 4);
}

static void copies_get_their_arguments_and_keep_all(void **state)
{
	(void)state;
	static const uint8_t registers[] = {1, 2, 3, 6, 7, 9, 10, 11}; /* those that may be changed, and RBX */

	for (size_t i = 0; i < sizeof(registers); i++)
		for (size_t k = 0; k < sizeof(registers); k++)
			if (i != k)
				check_copy(registers[i], registers[k]);
}

/* ---- marks, by which profiles know whose time it is ---- */

static int mark(void **state)
{
	(void)state;
	marking = true;
	memset(thread, 0, sizeof(thread));
	memset(&mark_seen, 0, sizeof(mark_seen));
	return 0;
}

static int unmark(void **state)
{
	(void)state;
	marking = false;
	return 0;
}

static void assert_marked_at(unsigned offset)
{
	assert_int_equal(mark_seen.pc, address_of(pages) + offset);
	assert_int_equal(mark_seen.sp, mark_seen.expected_sp);
	assert_int_equal(thread[THREAD_SP / 8], 0);
}

static void the_site_is_marked_while_its_hook_runs(void **state)
{
	(void)state;
	struct rqs_site site = site_for(compare, sizeof(compare), 10, 5);

	hook(&site, address_of(looking_by_asm));
	assert_int_equal(call(3, 5), 7); /* left before the hook: no mark */
	assert_int_equal(mark_seen.pc | thread[THREAD_PC / 8], 0);
	assert_int_equal(call(5, 3), 9);
	assert_marked_at(5);
}

static void no_jump_leaves_with_a_mark(void **state)
{
	(void)state;
	struct rqs_site site = site_for(compare, sizeof(compare), 5, 0);

	hook(&site, address_of(looking_by_asm));
	assert_int_equal(call(3, 5), 7);
	assert_marked_at(0);
	assert_int_equal(call(5, 3), 9);
	assert_marked_at(0);
}

static void a_mark_ends_before_its_register_is_used(void **state)
{
	(void)state;
	/* `mov %rdi,%r11; lea 1(%r11,%rsi),%rax; ret` */
	static const uint8_t code[] = {0x49, 0x89, 0xfb, 0x49, 0x8d, 0x44, 0x33, 0x01, 0xc3};
	struct rqs_site site = site_for(code, sizeof(code), 8, 0);

	hook(&site, address_of(looking_by_asm));
	assert_int_equal(call(5, 3), 9);
	assert_marked_at(0);
}

static void at_a_system_call_its_arguments_stay(void **state)
{
	static const enum rqs_site_kind kinds[] = {RQS_SITE_SYSCALL_LOADED, RQS_SITE_SYSCALL_DONE};
	/* `lea (%rdi,%rsi),%r10; nop; cmp $-4095,%rax; mov %r10,%rax; ret` */
	static const uint8_t code[] = {0x4c, 0x8d, 0x14, 0x37, 0x90, 0x48, 0x3d, 0x01,
				       0xf0, 0xff, 0xff, 0x4c, 0x89, 0xd0, 0xc3};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		mark(state);
		struct rqs_site site = site_for(code, sizeof(code), 6, 0);
		site.kind = kinds[i];
		site.address += 5;
		memcpy(site.code, code + 5, 6);
		assert_true(build_at(&site, address_of(looking_by_asm), address_of(pages + PAGE), pages + PAGE) > 0);
		memcpy(pages + 5, patch.after, patch.length);
		assert_int_equal(call(5, 3), 8);
		assert_marked_at(5);
	}
}

/* Within the instruction: the stack is as it was at its start, and the address before is still its own. */
static void copies_are_marked_with_the_stack_as_it_was(void **state)
{
	(void)state;
	copies_get_their_arguments_and_keep_all(NULL);
	assert_int_equal(thread[THREAD_PC / 8], address_of(pages) + 15);
	assert_int_equal(noted.mark_sp, noted.sp + 8 * (1 + 12));
	assert_int_equal(thread[THREAD_SP / 8], 0);
}

static void what_cannot_be_moved_is_refused(void **state)
{
	(void)state;
	static const uint8_t codes[][8] = {
	    {0xe3, 0x10, 0x90, 0x90, 0x90},       /* jrcxz */
	    {0xe2, 0x10, 0x90, 0x90, 0x90},       /* loop */
	    {0xe8, 0x10, 0x00, 0x00, 0x00},       /* call */
	    {0x06, 0x90, 0x90, 0x90, 0x90, 0x90}, /* no instruction */
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		struct rqs_site site = site_for(codes[i], 8, 5, 0);

		assert_int_equal(build_at(&site, address_of(hit_by_asm), address_of(pages + PAGE), pages + PAGE), 0);
		assert_non_null(strstr(why, "f: "));
	}
}

static void what_is_out_of_reach_is_refused(void **state)
{
	(void)state;
	struct rqs_site site = site_for(compare, sizeof(compare), 5, 5);

	assert_int_equal(build_at(&site, 1, address_of(pages) + (3ull << 30), pages + PAGE), 0);
	assert_int_equal(build_at(&site, 1, address_of(pages) - (3ull << 30), pages + PAGE), 0);
	assert_true(build_at(&site, 1, address_of(pages) + (1ull << 30), pages + PAGE) > 0);
}

static void kinds_without_a_hook_are_left_alone(void **state)
{
	(void)state;
	struct rqs_site site = site_for(compare, sizeof(compare), 5, 5);

	assert_true(build_at(&site, 0, address_of(pages + PAGE), pages + PAGE) > 0);
	assert_int_equal(patched, 0);
}

static void a_damaged_plan_is_refused(void **state)
{
	(void)state;
	struct rqs_site site = site_for(compare, sizeof(compare), 5, 5);

	site.before = 6;
	assert_int_equal(build_at(&site, 1, address_of(pages + PAGE), pages + PAGE), 0);
	site.before = 3;
	site.length = 3;
	assert_int_equal(build_at(&site, 1, address_of(pages + PAGE), pages + PAGE), 0);
	site.length = RQS_SITE_CODE + 1;
	assert_int_equal(build_at(&site, 1, address_of(pages + PAGE), pages + PAGE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_before_the_hook_may_leave),
		cmocka_unit_test(what_comes_after_the_hook_is_replayed),
		cmocka_unit_test(a_near_hook_is_called_directly),
		cmocka_unit_test(addresses_relative_to_the_instruction_move),
		cmocka_unit_test(an_immediate_behind_the_distance_stays),
		cmocka_unit_test(copies_get_their_arguments_and_keep_all),
		cmocka_unit_test_setup_teardown(the_site_is_marked_while_its_hook_runs, mark, unmark),
		cmocka_unit_test_setup_teardown(no_jump_leaves_with_a_mark, mark, unmark),
		cmocka_unit_test_setup_teardown(a_mark_ends_before_its_register_is_used, mark, unmark),
		cmocka_unit_test_setup_teardown(at_a_system_call_its_arguments_stay, mark, unmark),
		cmocka_unit_test_setup_teardown(copies_are_marked_with_the_stack_as_it_was, mark, unmark),
		cmocka_unit_test(what_cannot_be_moved_is_refused),
		cmocka_unit_test(what_is_out_of_reach_is_refused),
		cmocka_unit_test(kinds_without_a_hook_are_left_alone),
		cmocka_unit_test(a_damaged_plan_is_refused),
	};
	return cmocka_run_group_tests(tests, map, NULL);
}
