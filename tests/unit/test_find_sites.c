/* test_find_sites.c - which functions are hooked, by what the compiler made of them: functions and trees made by hand.
 */
#include "unit.h"

#include "inject/search.h"

#include <stdlib.h>

#define SPECIALISED "runtime.mallocgcSmallNoScanSC2"

/* `cmp 0x10(%r14),%rsp; jbe 1f; mov %rax,(%rsp); ret; 1: jmp` its start */
static const uint8_t checked[] = {0x49, 0x3b, 0x66, 0x10, 0x76, 0x05, 0x48, 0x89, 0x04, 0x24, 0xc3, 0xeb, 0xf3};
/* `lea -0x18(%rsp),%r12; cmp 0x10(%r14),%r12; jbe 1f; mov %rax,(%rsp); ret; 1: jmp` its start */
static const uint8_t large_frame[] = {0x4c, 0x8d, 0x64, 0x24, 0xe8, 0x4d, 0x3b, 0x66, 0x10,
				      0x76, 0x05, 0x48, 0x89, 0x04, 0x24, 0xc3, 0xeb, 0xee};
/* as `checked`, with a jump to what comes behind the check */
static const uint8_t looping[] = {0x49, 0x3b, 0x66, 0x10, 0x76, 0x06, 0x48, 0x89, 0x04, 0x24, 0xeb, 0xfa, 0xeb, 0xf2};
/* `push %rbp; mov %rsp,%rbp; sub $16,%rsp; ret` */
static const uint8_t unchecked[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xc3};
/* the same, with `lock cmpxchg %ecx,0x90(%rdx)` before the end */
static const uint8_t exchanging[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xf0,
				     0x0f, 0xb1, 0x8a, 0x90, 0x00, 0x00, 0x00, 0xc3};
/* `lock cmpxchg %r10d,0x90(%r9); ret` */
static const uint8_t copy[] = {0xf0, 0x45, 0x0f, 0xb1, 0x91, 0x90, 0x00, 0x00, 0x00, 0xc3};
/* `lock cmpxchg %ecx,0x90(%rsp); ret` */
static const uint8_t no_copy[] = {0xf0, 0x0f, 0xb1, 0x8c, 0x24, 0x90, 0x00, 0x00, 0x00, 0xc3};
/* `push %rbp; mov %rsp,%rbp; sub $16,%rsp; jmp` between the first two */
static const uint8_t jumping[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xeb, 0xf7};
/* `mov %rax,0xb8(%rdx); mov %rdx,0x30(%rax); ret` behind a stack check */
static const uint8_t execute[] = {0x49, 0x3b, 0x66, 0x10, 0x76, 0x0c, 0x48, 0x89, 0x82, 0xb8,
				  0x00, 0x00, 0x00, 0x48, 0x89, 0x50, 0x30, 0xc3, 0xeb, 0xec};
/* as `checked`, with a call of the function that lies 0x1000 bytes further */
static const uint8_t passing_on[] = {0x49, 0x3b, 0x66, 0x10, 0x76, 0x06, 0xe8,
				     0xf5, 0x0f, 0x00, 0x00, 0xc3, 0xeb, 0xf2};

/* `mov 0x10(%rsp),%rdi; mov 0x18(%rsp),%rsi; mov 0x20(%rsp),%rdx; mov 8(%rsp),%rax; syscall; cmp $-4095,%rax; ret` */
static const uint8_t raw_call[] = {0x48, 0x8b, 0x7c, 0x24, 0x10, 0x48, 0x8b, 0x74, 0x24, 0x18, 0x48, 0x8b, 0x54, 0x24, 0x20,
				   0x48, 0x8b, 0x44, 0x24, 0x08, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3};
/* the same behind a call */
static const uint8_t told_call[] = {0xe8, 0x00, 0x10, 0x00, 0x00, 0x48, 0x8b, 0x7c, 0x24, 0x10, 0x48, 0x8b,
				    0x74, 0x24, 0x18, 0x48, 0x8b, 0x54, 0x24, 0x20, 0x48, 0x8b, 0x44, 0x24,
				    0x08, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3};
/* as the first, with RDI and RSI in each other's place */
static const uint8_t odd_call[] = {0x48, 0x8b, 0x74, 0x24, 0x10, 0x48, 0x8b, 0x7c, 0x24, 0x18, 0x48, 0x8b, 0x54, 0x24, 0x20,
				   0x48, 0x8b, 0x44, 0x24, 0x08, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3};
/* as the first, with the number loaded before all else */
static const uint8_t early_call[] = {0x48, 0x8b, 0x44, 0x24, 0x08, 0x48, 0x8b, 0x7c, 0x24, 0x10, 0x48, 0x8b, 0x74, 0x24, 0x18,
				     0x48, 0x8b, 0x54, 0x24, 0x20, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3};
/*
 * `push %rbp; mov %rsp,%rbp; mov 0x30(%r14),%rbx; lea 0x10(%rsp),%rdx; mov -8(%rdx),%rcx; mov %rcx,0x388(%rbx);
 * mov %rdx,0x380(%rbx); ret`
 */
#define NOTING(first, second)                                                                               \
	{                                                                                                    \
		0x55, 0x48, 0x89, 0xe5, 0x49, 0x8b, 0x5e, 0x30, 0x48, 0x8d, 0x54, 0x24, 0x10, 0x48, 0x8b,    \
		    0x4a, 0xf8, 0x48, 0x89, first, 0x88, 0x03, 0x00, 0x00, 0x48, 0x89, second, 0x80, 0x03,   \
		    0x00, 0x00, 0xc3                                                                         \
	}
static const uint8_t noting[] = NOTING(0x8b, 0x93);
static const uint8_t noting_twice[] = NOTING(0x8b, 0x8b);   /* %rcx in both */
static const uint8_t noting_another[] = NOTING(0x83, 0x93); /* %rax in the first */

static struct rqs_go_function functions[32];
static struct rqs_inlined copies[8];
static struct rqs_plan plan;
static struct rqs_search search;

#define CODE(bytes) bytes, sizeof(bytes)

static struct rqs_go_function *add(const char *name, const uint8_t *code, size_t size)
{
	struct rqs_go_function *function = &functions[search.function_count++];
	uint64_t start = 0x400000 + search.function_count * 0x1000;

	*function = (struct rqs_go_function){.name = name, .start = start, .end = start + size, .code = code};
	return function;
}

static void add_copy(const char *callee, const char *host, const uint8_t *code, size_t size)
{
	struct rqs_go_function *function = add(host, code, size);

	copies[search.inlined.count++] = (struct rqs_inlined){callee, *function};
}

/* One more copy in the function that has the first. */
static void add_another_copy(const char *callee)
{
	copies[search.inlined.count++] = (struct rqs_inlined){callee, copies[0].host};
}

static int begin(void **state)
{
	(void)state;
	search = (struct rqs_search){
	    .plan = &plan, .functions = functions, .inlined_known = true, .inlined.entries = copies};
	memset(&plan, 0, sizeof(plan));
	return 0;
}

static int end(void **state)
{
	(void)state;
	rqs_plan_free(&plan);
	return 0;
}

static bool hooked(enum rqs_site_kind kind, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < plan.site_count; i++)
		count += plan.sites[i].kind == kind && !strcmp(plan.sites[i].name, name);
	assert_true(count <= 1);
	return count;
}

static void add_leaves(void)
{
	add("runtime.mallocgcTiny", CODE(checked));
	add("runtime.mallocgcSmallNoscan", CODE(checked));
	add("runtime.mallocgcSmallScanNoHeader", CODE(large_frame));
	add("runtime.mallocgcSmallScanHeader", CODE(checked));
	add("runtime.mallocgcLarge", CODE(checked));
}

static void mallocgc_alone(void **state)
{
	(void)state;
	add_copy("runtime.mallocgcTiny", "runtime.mallocgc", CODE(large_frame));
	add_leaves();
	rqs_find_alloc(&search);
	assert_int_equal(plan.measures, RQS_MEASURES_ALLOC);
	assert_int_equal(plan.site_count, 1);
	assert_true(hooked(RQS_SITE_ALLOC, "runtime.mallocgc"));
	/* The first instruction stays. */
	assert_int_equal(plan.sites[0].address, functions[0].start + 5);
	assert_int_equal(plan.sites[0].before, 6);
	assert_int_equal(plan.sites[0].length, 6);
}

static void leaves_where_mallocgc_was_copied(void **state)
{
	(void)state;
	add("runtime.mallocgc", CODE(checked));
	add_leaves();
	add_copy("runtime.mallocgc", "runtime.newobject", CODE(checked));
	rqs_find_alloc(&search);
	assert_int_equal(plan.measures, RQS_MEASURES_ALLOC);
	assert_int_equal(plan.site_count, 5);
	assert_false(hooked(RQS_SITE_ALLOC, "runtime.mallocgc"));
}

static void nothing_where_a_leaf_was_copied_too(void **state)
{
	(void)state;
	add("runtime.mallocgc", CODE(checked));
	add_leaves();
	add_copy("runtime.mallocgc", "runtime.newobject", CODE(checked));
	add_copy("runtime.mallocgcTiny", "runtime.convT", CODE(checked));
	rqs_find_alloc(&search);
	assert_int_equal(plan.measures | plan.site_count, 0);
	assert_string_equal(plan.why_no_alloc, "the compiler put runtime.mallocgcTiny into runtime.convT");
}

static void nothing_where_there_are_no_leaves(void **state)
{
	(void)state;
	add("runtime.mallocgc", CODE(checked));
	add_copy("runtime.mallocgc", "runtime.newobject", CODE(checked));
	rqs_find_alloc(&search);
	assert_int_equal(plan.measures | plan.site_count, 0);
	assert_string_equal(plan.why_no_alloc, "the compiler put runtime.mallocgc into runtime.newobject");
}

static void nothing_where_inlining_is_unknown(void **state)
{
	(void)state;
	search.inlined_known = false;
	add("runtime.mallocgc", CODE(checked));
	add("runtime.casgstatus", CODE(unchecked));
	rqs_find_alloc(&search);
	rqs_find_sched(&search);
	assert_int_equal(plan.measures | plan.site_count, 0);
	assert_true(plan.why_no_alloc[0] && plan.why_no_children[0] && plan.why_no_sched[0]);
}

static void specialised_with_the_leaves_of_other_sizes(void **state)
{
	(void)state;
	add("runtime.mallocgc", CODE(checked));
	add(SPECIALISED, CODE(checked));
	add("runtime.mallocgcTinySize8", CODE(checked));
	add("runtime.mallocgcTinySize8.func1", CODE(unchecked));
	add("runtime.mallocgcSmallNoscan", CODE(checked));
	add("runtime.mallocgcSmallScanHeader", CODE(checked));
	add("runtime.mallocgcLarge", CODE(checked));
	rqs_find_alloc(&search);
	assert_int_equal(plan.measures, RQS_MEASURES_ALLOC);
	assert_int_equal(plan.site_count, 5);
	assert_false(hooked(RQS_SITE_ALLOC, "runtime.mallocgc"));
	assert_true(hooked(RQS_SITE_ALLOC, "runtime.mallocgcTinySize8"));
}

static void nothing_where_one_of_the_set_calls_another(void **state)
{
	(void)state;
	add("runtime.mallocgc", CODE(checked));
	add("runtime.mallocgcTinySize8", CODE(passing_on));
	add(SPECIALISED, CODE(checked));
	add("runtime.mallocgcSmallNoscan", CODE(checked));
	add("runtime.mallocgcSmallScanHeader", CODE(checked));
	add("runtime.mallocgcLarge", CODE(checked));
	rqs_find_alloc(&search);
	assert_int_equal(plan.measures | plan.site_count, 0);
	assert_string_equal(plan.why_no_alloc, "runtime.mallocgcTinySize8 leads to " SPECIALISED);
}

static void nothing_where_code_is_unexpected(void **state)
{
	(void)state;
	add("runtime.mallocgc", CODE(unchecked));
	rqs_find_alloc(&search);
	assert_int_equal(plan.measures | plan.site_count, 0);
	assert_non_null(strstr(plan.why_no_alloc, "isn't as expected"));
}

static void add_scheduler(void)
{
	add("runtime.casgstatus", CODE(exchanging));
	add("runtime.casGToPreemptScan", CODE(checked));
	add("runtime.execute", CODE(execute));
	add("runtime.newproc1", CODE(checked));
}

static void one_hook_sees_all_changes(void **state)
{
	(void)state;
	add_scheduler();
	rqs_find_sched(&search);
	assert_int_equal(plan.measures, RQS_MEASURES_CHILDREN | RQS_MEASURES_SCHED);
	assert_int_equal(plan.site_count, 2);
	assert_true(hooked(RQS_SITE_STATUS, "runtime.casgstatus"));
	assert_true(hooked(RQS_SITE_PREEMPTED, "runtime.casGToPreemptScan"));
	assert_int_equal(plan.curg_offset, 0xb8);
	assert_int_equal(plan.sites[0].before, 0);
}

static void copies_are_hooked_themselves(void **state)
{
	(void)state;
	add_scheduler();
	add_copy("runtime.casgstatus", "runtime.ready", CODE(copy));
	add_copy("runtime.casgstatus", "runtime.park_m", CODE(copy));
	rqs_find_sched(&search);
	assert_int_equal(plan.measures, RQS_MEASURES_CHILDREN | RQS_MEASURES_SCHED);
	assert_int_equal(plan.site_count, 4);
	assert_true(hooked(RQS_SITE_STATUS, "runtime.casgstatus"));
	assert_true(hooked(RQS_SITE_STATUS, "runtime.ready") && hooked(RQS_SITE_STATUS, "runtime.park_m"));
	for (size_t i = 1; i < 3; i++) {
		assert_true(plan.sites[i].copied);
		assert_int_equal(plan.sites[i].goroutine, 9);
		assert_int_equal(plan.sites[i].status, 10);
		assert_int_equal(plan.sites[i].length, 9);
	}
}

static void copies_that_start_goroutines_matter_to_children(void **state)
{
	(void)state;
	add_scheduler();
	add_copy("runtime.casgstatus", "runtime.newproc.func1", CODE(copy));
	add_another_copy("runtime.newproc1");
	add_copy("runtime.casgstatus", "runtime.goschedImpl", CODE(no_copy));
	rqs_find_sched(&search);
	assert_int_equal(plan.measures, RQS_MEASURES_CHILDREN);
	assert_int_equal(plan.site_count, 2);
	assert_true(hooked(RQS_SITE_STATUS, "runtime.newproc.func1"));
	assert_string_equal(plan.why_no_sched, "the compiler put runtime.casgstatus into runtime.goschedImpl");
}

static void births_by_an_unknown_copy_are_not_seen(void **state)
{
	(void)state;
	add_scheduler();
	add_copy("runtime.casgstatus", "runtime.newproc.func1", CODE(no_copy));
	add_another_copy("runtime.newproc1");
	rqs_find_sched(&search);
	assert_int_equal(plan.measures | plan.site_count, 0);
	assert_true(plan.why_no_children[0] && plan.why_no_sched[0]);
}

static void as_many_exchanges_as_copies(void **state)
{
	(void)state;
	add_scheduler();
	add_copy("runtime.casgstatus", "runtime.ready", CODE(copy));
	add_another_copy("runtime.casgstatus");
	rqs_find_sched(&search);
	assert_int_equal(plan.measures, RQS_MEASURES_CHILDREN);
	assert_int_equal(plan.site_count, 1);
	assert_string_equal(plan.why_no_sched, "the compiler put runtime.casgstatus into runtime.ready");
}

static void times_do_not_need_what_children_need(void **state)
{
	(void)state;
	add("runtime.casgstatus", CODE(exchanging));
	add("runtime.casGToPreemptScan", CODE(checked));
	add("runtime.newproc1", CODE(checked));
	rqs_find_sched(&search);
	assert_int_equal(plan.measures, RQS_MEASURES_SCHED);
	assert_int_equal(plan.site_count, 2);
	assert_string_equal(plan.why_no_children, "where a thread keeps its goroutine wasn't found");
}

static void nothing_where_jumps_go_between(void **state)
{
	(void)state;
	add("runtime.casgstatus", CODE(jumping));
	rqs_find_sched(&search);
	assert_int_equal(plan.measures | plan.site_count, 0);
	assert_string_equal(plan.why_no_sched, "runtime.casgstatus isn't as expected");
}

/* Where too little can be displaced behind the first instruction, that goes, too. */
static void from_the_start_where_it_has_to_be(void **state)
{
	(void)state;
	add("runtime.mallocgc", CODE(looping));
	rqs_find_alloc(&search);
	assert_true(hooked(RQS_SITE_ALLOC, "runtime.mallocgc"));
	assert_int_equal(plan.sites[0].address, functions[0].start);
	assert_int_equal(plan.sites[0].before, 6);
	assert_int_equal(plan.sites[0].length, 6);
}

static void nothing_where_a_name_is_there_twice(void **state)
{
	(void)state;
	add_scheduler();
	add("runtime.casgstatus", CODE(unchecked));
	rqs_find_sched(&search);
	assert_int_equal(plan.measures | plan.site_count, 0);
}

static void four_functions_in_assembly(void **state)
{
	(void)state;
	add("runtime/internal/syscall.Syscall6", CODE(early_call));
	add("syscall.RawSyscall", CODE(raw_call));
	add("syscall.Syscall", CODE(told_call));
	rqs_find_syscall(&search);
	assert_string_equal(plan.why_not, "");
	assert_int_equal(plan.site_count, 4);
	assert_true(hooked(RQS_SITE_SYSCALL_LOADED, "syscall.Syscall") && hooked(RQS_SITE_SYSCALL_DONE, "syscall.Syscall"));
	assert_true(hooked(RQS_SITE_SYSCALL_LOADED, "syscall.RawSyscall"));
	for (size_t i = 0; i < 4; i += 2) {
		assert_int_equal(plan.sites[i].length, 5);
		assert_int_equal(plan.sites[i].before, 5);
		assert_int_equal(plan.sites[i].address + 7, plan.sites[i + 1].address);
	}
	assert_int_equal(plan.syscall_instruction, plan.sites[0].address + 5);
}

static void nothing_of(const char *name, const uint8_t *code, size_t size, const char *why)
{
	add("syscall.Syscall", CODE(told_call));
	add(name, code, size);
	rqs_find_syscall(&search);
	assert_int_equal(plan.site_count, 0);
	assert_non_null(strstr(plan.why_not, why));
	search.function_count = 0;
	plan.why_not[0] = 0;
}

static void all_of_the_assembly_is_as_expected_or_none_is_hooked(void **state)
{
	(void)state;
	nothing_of("syscall.RawSyscall6", CODE(odd_call), "Syscall6");
	nothing_of("syscall.Syscall6", CODE(early_call), "Syscall6");
	nothing_of("syscall.RawSyscall", raw_call, sizeof(raw_call) - 1 - sizeof(uint32_t), "Syscall6");
	nothing_of("syscall.Syscall", CODE(told_call), "Syscall6");
	add("syscall.RawSyscall", CODE(raw_call));
	rqs_find_syscall(&search);
	assert_int_equal(plan.site_count, 0);
}

static void assert_noted(uint32_t pc, uint32_t sp)
{
	rqs_find_vdso(&search);
	assert_int_equal(plan.vdso_pc_offset, pc);
	assert_int_equal(plan.vdso_sp_offset, sp);
}

static void where_a_thread_notes_that_it_left(void **state)
{
	(void)state;
	add("runtime.nanotime1", CODE(noting));
	add("runtime.nanotime1", CODE(checked)); /* a wrapper */
	assert_noted(0x388, 0x380);
}

static void what_is_noted_otherwise_is_unknown(void **state)
{
	(void)state;
	assert_noted(0, 0);
	add("runtime.nanotime1", CODE(noting_twice));
	add("runtime.nanotime1", CODE(noting_another));
	add("runtime.nanotime1", CODE(execute));
	add("runtime.nanotime", CODE(noting));
	assert_noted(0, 0);
}

#define FIND(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIND(mallocgc_alone),
		FIND(leaves_where_mallocgc_was_copied),
		FIND(nothing_where_a_leaf_was_copied_too),
		FIND(nothing_where_there_are_no_leaves),
		FIND(nothing_where_inlining_is_unknown),
		FIND(specialised_with_the_leaves_of_other_sizes),
		FIND(nothing_where_one_of_the_set_calls_another),
		FIND(nothing_where_code_is_unexpected),
		FIND(one_hook_sees_all_changes),
		FIND(copies_are_hooked_themselves),
		FIND(copies_that_start_goroutines_matter_to_children),
		FIND(births_by_an_unknown_copy_are_not_seen),
		FIND(as_many_exchanges_as_copies),
		FIND(times_do_not_need_what_children_need),
		FIND(nothing_where_jumps_go_between),
		FIND(from_the_start_where_it_has_to_be),
		FIND(nothing_where_a_name_is_there_twice),
		FIND(four_functions_in_assembly),
		FIND(all_of_the_assembly_is_as_expected_or_none_is_hooked),
		FIND(where_a_thread_notes_that_it_left),
		FIND(what_is_noted_otherwise_is_unknown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
