/* Parts of latencies: they add up, also of the slowest alone, and merging is one pass. */
#include "unit.h"

#include "model/breakdown.h"
#include "read/columns.h"

static void add(struct rqs_breakdown *b, uint64_t latency, uint64_t queue, uint64_t cpu)
{
	const struct rqs_part_columns parts = {2, {{RQS_PART_QUEUE, &queue}, {RQS_PART_CPU, &cpu}}};
	const uint16_t row = 0;

	rqs_breakdown_add(b, &latency, &parts, &row, 1);
}

static void test_means_of_all(void **state)
{
	struct rqs_breakdown b = {0};

	(void)state;
	add(&b, 1000, 100, 600);
	add(&b, 3000, 500, RQS_NULL);
	struct rqs_breakdown_mean mean = rqs_breakdown_slowest(&b, 1);
	assert_true(mean.requests == 2 && mean.latency == 2000);
	assert_true(mean.part[RQS_PART_QUEUE] == 300 && mean.part[RQS_PART_CPU] == 300);
	assert_true(mean.part[RQS_PART_SEND] == 0);
	assert_int_equal(b.measured[RQS_PART_CPU], 1);
	assert_int_equal(b.measured[RQS_PART_SEND], 0);
	rqs_breakdown_free(&b);
}

static void test_the_slowest(void **state)
{
	struct rqs_breakdown b = {0};

	(void)state;
	for (unsigned i = 0; i < 99; i++)
		add(&b, 1000, 10, 20);
	add(&b, 1000000, 999000, 30);
	struct rqs_breakdown_mean mean = rqs_breakdown_slowest(&b, 0.01);
	assert_true(mean.requests == 1 && mean.latency == 1000000);
	assert_true(mean.part[RQS_PART_QUEUE] == 999000);
	/* Two of a hundred: the bucket of the others counts for one request, as if they were all alike. */
	mean = rqs_breakdown_slowest(&b, 0.02);
	assert_true(mean.requests == 2 && mean.latency == 500500);
	rqs_breakdown_free(&b);
}

static void test_merging_is_one_pass(void **state)
{
	struct rqs_breakdown one = {0}, other = {0}, both = {0};

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t latency = i * i * 7919 % 100000007;

		add(i % 3 ? &one : &other, latency, latency / 2, latency / 3);
		add(&both, latency, latency / 2, latency / 3);
	}
	rqs_breakdown_merge(&one, &other);
	for (double share = 1; share > 0.001; share /= 3) {
		struct rqs_breakdown_mean merged = rqs_breakdown_slowest(&one, share);
		struct rqs_breakdown_mean passed = rqs_breakdown_slowest(&both, share);

		assert_memory_equal(&merged, &passed, sizeof(merged));
	}
	rqs_breakdown_free(&one);
	rqs_breakdown_free(&other);
	rqs_breakdown_free(&both);
}

static void test_nothing_and_zero(void **state)
{
	struct rqs_breakdown b = {0};

	(void)state;
	assert_true(rqs_breakdown_slowest(&b, 1).requests == 0);
	add(&b, 0, 0, 0);
	assert_true(rqs_breakdown_slowest(&b, 1).requests == 1);
	add(&b, UINT64_MAX - 1, RQS_NULL, RQS_NULL);
	add(&b, RQS_NULL, 1, 1);
	assert_true(rqs_breakdown_slowest(&b, 1).requests == 2);
	assert_true(rqs_breakdown_slowest(&b, 0.5).latency > 1e19);
	rqs_breakdown_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_means_of_all),
	    cmocka_unit_test(test_the_slowest),
	    cmocka_unit_test(test_merging_is_one_pass),
	    cmocka_unit_test(test_nothing_and_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
