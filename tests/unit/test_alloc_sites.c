/* test_alloc_sites.c - runs that become one side, and what is found out of many sites. Reading:
 * tests/cli/test_sites_report.py. */
#include "unit.h"

#include "model/site_index.h"

#include <stdio.h>

static uint32_t frame(struct rqs_alloc_sites *s, const char *function, enum rqs_frame_name_kind kind)
{
	return rqs_site_index_frame(s, &(struct rqs_frame_name){.function = function, .kind = kind});
}

static void add_sample(struct rqs_alloc_sites *s, uint32_t row, uint32_t stack, double bytes)
{
	uint32_t number = rqs_site_index_site(s, row, stack);
	struct rqs_alloc_site *site = &s->sites[number];

	site->allocated = (struct rqs_site_estimate){1, bytes, bytes * bytes, 1, 1};
	site->followed = site->retained = site->allocated;
	site->retained_along[RQS_SITE_BINS - 1] = bytes;
	s->samples++;
}

static void begin(struct rqs_alloc_sites *s, double sample_bytes)
{
	*s = (struct rqs_alloc_sites){.known = true, .runs = 1, .sample_bytes = sample_bytes};
	rqs_site_index_start(s);
}

/* main -> handler -> malloc, and another function, in the order in which they are met. */
static void fill(struct rqs_alloc_sites *s, bool other_first)
{
	uint32_t main = rqs_site_index_stack(s, 0, frame(s, "main", RQS_KIND_NATIVE));
	uint32_t other = other_first ? rqs_site_index_stack(s, main, frame(s, "other", RQS_KIND_NATIVE)) : 0;
	uint32_t handler = rqs_site_index_stack(s, main, frame(s, "handler", RQS_KIND_NATIVE));
	uint32_t called = rqs_site_index_stack(s, handler, frame(s, "malloc", RQS_KIND_NATIVE));

	if (other_first)
		add_sample(s, 3, other, 10);
	add_sample(s, 5, called, 100);
	rqs_site_index_requests(s, 5)[RQS_SITE_BINS - 1] = 7;
	rqs_site_index_sort(s);
}

static void the_same_stacks_become_one(void **unused)
{
	struct rqs_alloc_sites a, b, side = {0};

	(void)unused;
	begin(&a, 512);
	begin(&b, 512);
	fill(&a, false);
	fill(&b, true);
	rqs_alloc_sites_merge(&side, &a);
	rqs_alloc_sites_merge(&side, &b);
	assert_true(side.known);
	assert_int_equal(side.runs, 2);
	assert_int_equal(side.samples, 3);
	assert_true(side.sample_bytes == 512);
	assert_int_equal(side.frame_count, 4);
	assert_int_equal(side.stack_count, 5);
	assert_int_equal(side.site_count, 2);
	assert_int_equal(side.sites[0].row, 3);
	assert_int_equal(side.sites[1].allocated.samples, 2);
	assert_true(side.sites[1].allocated.bytes == 200);
	assert_true(side.sites[1].retained.bytes_variance == 20000);
	assert_true(side.sites[1].retained_along[RQS_SITE_BINS - 1] == 200);
	assert_true(side.requests_along[5][RQS_SITE_BINS - 1] == 14);
	assert_string_equal(side.frames[rqs_alloc_sites_frame_of(&side, side.sites[1].stack)].function, "handler");
	rqs_alloc_sites_free(&a);
	rqs_alloc_sites_free(&b);
	rqs_alloc_sites_free(&side);
}

/* What is known of a side is known of each of its runs; a mean distance that differs is none. */
static void what_one_run_lacks_the_side_lacks(void **unused)
{
	struct rqs_alloc_sites a, b, without = {.runs = 1}, side = {0};

	(void)unused;
	begin(&a, 512);
	begin(&b, 1024);
	fill(&a, false);
	rqs_alloc_sites_merge(&side, &a);
	rqs_alloc_sites_merge(&side, &b);
	assert_true(side.known && side.sample_bytes == 0);
	rqs_alloc_sites_merge(&side, &without);
	assert_false(side.known);
	rqs_alloc_sites_merge(&side, &a);
	assert_false(side.known);
	rqs_alloc_sites_free(&a);
	rqs_alloc_sites_free(&b);
	rqs_alloc_sites_free(&side);
}

/* Beyond the bound sites keep the frame that they are named by, and nothing is lost. */
static void very_many_sites(void **unused)
{
	struct rqs_alloc_sites s;
	double sum = 0;

	(void)unused;
	begin(&s, 512);
	uint32_t named = frame(&s, "named", RQS_KIND_NATIVE), helper = frame(&s, "malloc", RQS_KIND_NATIVE);
	for (uint32_t i = 0; i < RQS_SITES_MAX + 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		uint32_t caller = rqs_site_index_stack(&s, 0, frame(&s, name, RQS_KIND_NATIVE));
		uint32_t stack = rqs_site_index_stack(&s, rqs_site_index_stack(&s, caller, named), helper);
		uint32_t number = rqs_site_index_site(&s, 0, stack);
		s.sites[number].allocated.bytes += 1;
	}
	assert_int_equal(s.site_count, RQS_SITES_MAX + 1);
	rqs_site_index_sort(&s);
	for (uint32_t i = 0; i < s.site_count; i++) {
		sum += s.sites[i].allocated.bytes;
		assert_int_equal(rqs_alloc_sites_frame_of(&s, s.sites[i].stack), named);
	}
	assert_true(sum == RQS_SITES_MAX + 1000);
	assert_true(s.sites[0].allocated.bytes == 1000);
	rqs_alloc_sites_free(&s);
}

static void a_stack_ends_somewhere(void **unused)
{
	struct rqs_alloc_sites s;
	uint32_t stack = 0, depth = 0;

	(void)unused;
	begin(&s, 512);
	uint32_t f = frame(&s, "f", RQS_KIND_GO);
	for (unsigned i = 0; i < 5000; i++)
		stack = rqs_site_index_stack(&s, stack, f);
	for (; stack; stack = s.stacks[stack].caller, depth++)
		assert_true(s.stacks[stack].caller < stack);
	assert_in_range(depth, 1, RQS_SITE_DEPTH_MAX);
	assert_int_equal(rqs_alloc_sites_frame_of(&s, 0), RQS_NO_FRAME);
	rqs_alloc_sites_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_same_stacks_become_one),
	    cmocka_unit_test(what_one_run_lacks_the_side_lacks),
	    cmocka_unit_test(very_many_sites),
	    cmocka_unit_test(a_stack_ends_somewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
