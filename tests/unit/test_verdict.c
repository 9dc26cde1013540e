/* The rules of verdicts: in which order they are asked, and which way is better. */
#include "unit.h"

#include "report/verdict.h"

#include <math.h>

#define LOWER (-1)
#define HIGHER 1

static struct rqs_difference ratio(double estimate, double low, double high, double p)
{
	return (struct rqs_difference){.basis = RQS_BASIS_BETWEEN_RUNS,
				       .ratio = true,
				       .estimate = estimate,
				       .low = low,
				       .high = high,
				       .p = p,
				       .adjusted = p};
}

static void test_lower_is_better(void **state)
{
	struct rqs_difference worse = ratio(1.10, 1.05, 1.15, 0.01), better = ratio(0.90, 0.85, 0.95, 0.01);
	struct rqs_difference slight = ratio(1.02, 1.01, 1.03, 0.01), same = ratio(1.01, 0.98, 1.04, 0.6);

	(void)state;
	assert_int_equal(rqs_verdict_of(&worse, LOWER, 0, false), RQS_VERDICT_REGRESSED);
	assert_int_equal(rqs_verdict_of(&worse, LOWER, 0.12, false), RQS_VERDICT_INCONCLUSIVE);
	assert_int_equal(rqs_verdict_of(&worse, LOWER, 0.2, false), RQS_VERDICT_OK);
	assert_int_equal(rqs_verdict_of(&better, LOWER, 0.05, false), RQS_VERDICT_IMPROVED);
	assert_int_equal(rqs_verdict_of(&slight, LOWER, 0, false), RQS_VERDICT_REGRESSED);
	assert_int_equal(rqs_verdict_of(&slight, LOWER, 0.05, false), RQS_VERDICT_OK);
	assert_int_equal(rqs_verdict_of(&same, LOWER, 0.05, false), RQS_VERDICT_OK);
	assert_int_equal(rqs_verdict_of(&same, LOWER, 0, false), RQS_VERDICT_INCONCLUSIVE);
}

static void test_strict_wants_all_of_the_interval(void **state)
{
	struct rqs_difference worse = ratio(1.10, 1.05, 1.15, 0.01);

	(void)state;
	assert_int_equal(rqs_verdict_of(&worse, LOWER, 0.04, true), RQS_VERDICT_REGRESSED);
	assert_int_equal(rqs_verdict_of(&worse, LOWER, 0.08, true), RQS_VERDICT_INCONCLUSIVE);
	assert_int_equal(rqs_verdict_of(&worse, LOWER, 0.08, false), RQS_VERDICT_REGRESSED);
}

static void test_higher_is_better(void **state)
{
	struct rqs_difference less = ratio(0.90, 0.85, 0.95, 0.01), more = ratio(1.10, 1.05, 1.15, 0.01);

	(void)state;
	assert_int_equal(rqs_verdict_of(&less, HIGHER, 0, false), RQS_VERDICT_REGRESSED);
	/* 0.85 turned over is 1.18: allowed where 20 % more is. */
	assert_int_equal(rqs_verdict_of(&less, HIGHER, 0.2, false), RQS_VERDICT_OK);
	assert_int_equal(rqs_verdict_of(&more, HIGHER, 0, false), RQS_VERDICT_IMPROVED);
	assert_int_equal(rqs_verdict_of(&more, 0, 0, false), RQS_VERDICT_NONE);
}

/* 10 % less is asked for. */
static void test_an_improvement_that_is_asked_for(void **state)
{
	struct rqs_difference enough = ratio(0.80, 0.75, 0.88, 0.01), across = ratio(0.88, 0.85, 0.93, 0.01);
	struct rqs_difference little = ratio(0.95, 0.92, 0.98, 0.01), none = ratio(1.01, 0.98, 1.04, 0.6);

	(void)state;
	assert_int_equal(rqs_verdict_of(&enough, LOWER, -0.1, false), RQS_VERDICT_IMPROVED);
	assert_int_equal(rqs_verdict_of(&across, LOWER, -0.1, false), RQS_VERDICT_INCONCLUSIVE);
	assert_int_equal(rqs_verdict_of(&little, LOWER, -0.1, false), RQS_VERDICT_REGRESSED);
	assert_int_equal(rqs_verdict_of(&none, LOWER, -0.1, true), RQS_VERDICT_REGRESSED);
}

static void test_differences_that_are_no_ratios(void **state)
{
	struct rqs_difference d = ratio(0.010, 0.005, 0.015, 0.01);

	(void)state;
	d.ratio = false;
	assert_int_equal(rqs_verdict_of(&d, LOWER, 0, false), RQS_VERDICT_REGRESSED);
	assert_int_equal(rqs_verdict_of(&d, LOWER, 0.02, false), RQS_VERDICT_OK);
	assert_int_equal(rqs_verdict_of(&d, HIGHER, 0, false), RQS_VERDICT_IMPROVED);
	d = (struct rqs_difference){.basis = RQS_BASIS_WITHIN_RUNS, .p = 1, .adjusted = 1}; /* no error, then none */
	assert_int_equal(rqs_verdict_of(&d, LOWER, 0, false), RQS_VERDICT_OK);
}

static void test_what_is_not_known(void **state)
{
	struct rqs_difference worse = ratio(1.10, 1.05, 1.15, 0.2), none = ratio(1.10, NAN, NAN, NAN);

	(void)state;
	assert_int_equal(rqs_verdict_of(&worse, LOWER, 0, false), RQS_VERDICT_INCONCLUSIVE); /* p after correction */
	assert_int_equal(rqs_verdict_of(&none, LOWER, 0, false), RQS_VERDICT_NONE);
	none.basis = RQS_BASIS_NONE;
	assert_int_equal(rqs_verdict_of(&none, LOWER, 0, false), RQS_VERDICT_NONE);
	worse.unresolved = true;
	assert_int_equal(rqs_verdict_of(&worse, LOWER, 0, false), RQS_VERDICT_UNRESOLVED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lower_is_better),   cmocka_unit_test(test_strict_wants_all_of_the_interval),
	    cmocka_unit_test(test_higher_is_better),  cmocka_unit_test(test_differences_that_are_no_ratios),
	    cmocka_unit_test(test_what_is_not_known), cmocka_unit_test(test_an_improvement_that_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
