/* test_steps.c - which waits a step of the wall clock makes doubtful, by looks at the clocks given by hand. */
#include "unit.h"

#include "collect/clock.h"
#include "collect/steps.h"

#define MS 1000000ull
#define S 1000000000ull
#define AHEAD ((int64_t)(1700000000ull * S))

/* Looked at every 100 ms from 1000 s on for 2 s; after the first of them the wall clock is stepped. */
static struct rqs_steps stepped(int64_t by)
{
	struct rqs_steps steps = {0};

	for (unsigned i = 0; i <= 20; i++)
		rqs_steps_note(&steps, 1000 * S + i * 100 * MS, 1000 * S + i * 100 * MS + 50,
			       AHEAD + (i > 10 ? by : 0));
	/* Whatever the real clock says, the times in the tests are covered. */
	steps.looked_ns = UINT64_MAX / 2;
	return steps;
}

#define STEP (1001 * S) /* and the 100 ms behind it */

static void without_a_step_nothing_is_doubtful(void **state)
{
	struct rqs_steps steps = stepped(0), jitter = stepped(100000);

	(void)state;
	assert_int_equal(steps.count, 0);
	assert_int_equal(jitter.count, 0);
	assert_true(rqs_steps_leave(&steps, STEP + 50 * MS, 30 * S));
}

static void what_ended_around_a_step_is_doubtful(void **state)
{
	struct rqs_steps steps = stepped((int64_t)(3600 * S));

	(void)state;
	assert_int_equal(steps.count, 1);
	assert_true(rqs_steps_leave(&steps, STEP - 5 * MS, 3 * S));
	assert_false(rqs_steps_leave(&steps, STEP + 1 * MS, 10000));
	assert_false(rqs_steps_leave(&steps, STEP + 99 * MS, 10000));
	assert_true(rqs_steps_leave(&steps, STEP + 105 * MS, 10000));
}

/* It seems to have waited for as long as the step, and the bit that it really did. */
static void forwards(void **state)
{
	struct rqs_steps steps = stepped((int64_t)(30 * S));

	(void)state;
	assert_false(rqs_steps_leave(&steps, STEP + 200 * MS, 30 * S + 150 * MS));
	/* Really 10 ms: then it began behind the step, and waited for as long as it seems, longer ago. */
	assert_true(rqs_steps_leave(&steps, STEP + 40 * S, 30 * S + 10 * MS));
	assert_true(rqs_steps_leave(&steps, STEP + 200 * MS, 50 * MS));
	assert_true(rqs_steps_leave(&steps, STEP + 200 * MS, 5 * S));
}

/* It seems shorter by the step: which of those that seem short waited long isn't known, until none can have. */
static void backwards(void **state)
{
	struct rqs_steps steps = stepped(-(int64_t)(5 * S)), far = stepped(-(int64_t)(3600 * S));

	(void)state;
	assert_false(rqs_steps_leave(&steps, STEP + 1 * S, 10000));
	assert_false(rqs_steps_leave(&steps, STEP + 5 * S, 10000));
	assert_true(rqs_steps_leave(&steps, STEP + 6 * S, 10000));
	assert_false(rqs_steps_leave(&steps, STEP + 6 * S, 2 * S));
	/* Nobody waited for an hour. */
	assert_true(rqs_steps_leave(&far, STEP + 1 * S, 10000));
}

/* Begun before both, between them, and behind them. */
static void two_steps(void **state)
{
	struct rqs_steps steps = stepped((int64_t)(30 * S));

	(void)state;
	steps.looked_ns = STEP + 2 * S;
	rqs_steps_note(&steps, STEP + 2 * S + 100 * MS, STEP + 2 * S + 100 * MS, AHEAD + (int64_t)(50 * S));
	steps.looked_ns = UINT64_MAX / 2;
	assert_int_equal(steps.count, 2);
	assert_false(rqs_steps_leave(&steps, STEP + 3 * S, 50 * S + 3 * S));
	assert_false(rqs_steps_leave(&steps, STEP + 3 * S, 20 * S + 2 * S));
	assert_true(rqs_steps_leave(&steps, STEP + 3 * S, 500 * MS));
	assert_false(rqs_steps_leave(&steps, STEP + 1 * S, 30 * S + 2 * S));
	assert_true(rqs_steps_leave(&steps, STEP + 1 * S, 500 * MS));
}

/* A request is told when its answer is sent, which may be long after its wait: a stream is. */
static void old_steps_are_remembered(void **state)
{
	struct rqs_steps steps = stepped((int64_t)(3600 * S));

	(void)state;
	steps.looked_ns = 1002 * S;
	rqs_steps_note(&steps, 9000 * S, 9000 * S, AHEAD + (int64_t)(3600 * S));
	assert_false(rqs_steps_leave(&steps, STEP + 1 * MS, 3600 * S));
	assert_false(rqs_steps_leave(&steps, STEP + 2 * S, 3603 * S));
	assert_true(rqs_steps_leave(&steps, STEP + 2 * S, 10000));
}

/* The oldest: of them the fewest are yet to be told. */
static void of_many_the_oldest_become_one(void **state)
{
	struct rqs_steps steps = stepped(0);

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		steps.looked_ns = (2000 + i) * S;
		rqs_steps_note(&steps, (2000 + i) * S + MS, (2000 + i) * S + MS, AHEAD + (int64_t)((i + 1) % 2 * S));
	}
	assert_int_equal(steps.count, RQS_STEPS_KEPT);
	steps.looked_ns = UINT64_MAX / 2;
	assert_false(rqs_steps_leave(&steps, 2010 * S + 500 * MS, 10000));
	assert_true(rqs_steps_leave(&steps, 2098 * S + 500 * MS, 10000));
	assert_false(rqs_steps_leave(&steps, 2098 * S, 10000));
	/* The last went back by 1 s: it really waited 1.5 s. */
	assert_false(rqs_steps_leave(&steps, 2099 * S + 600 * MS, 500 * MS));
	/* Both of the last are in it. */
	assert_false(rqs_steps_leave(&steps, 2099 * S + 600 * MS, 2 * S));
}

static void the_real_clocks_keep_their_distance(void **state)
{
	struct rqs_steps steps = {0};

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t now = rqs_monotonic_ns();

		assert_true(rqs_steps_leave(&steps, now, S));
	}
	assert_int_equal(steps.count, 0);
	assert_true(steps.looked_ns > 0);
	/* What happens after the last look that succeeds isn't known. */
	assert_false(rqs_steps_leave(&steps, rqs_monotonic_ns() + 3600 * S, S));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_step_nothing_is_doubtful),
	    cmocka_unit_test(what_ended_around_a_step_is_doubtful),
	    cmocka_unit_test(forwards),
	    cmocka_unit_test(backwards),
	    cmocka_unit_test(two_steps),
	    cmocka_unit_test(old_steps_are_remembered),
	    cmocka_unit_test(of_many_the_oldest_become_one),
	    cmocka_unit_test(the_real_clocks_keep_their_distance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
