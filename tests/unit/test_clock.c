/* test_clock.c - ticks to nanoseconds, by anchors given by hand. */
#include "unit.h"

#include "collect/clock.h"

#include <time.h>
#include <unistd.h>

#define S 1000000000ull

static struct rqs_calibration fresh(void)
{
	return (struct rqs_calibration){.clock = RQS_CLOCK_TSC, .ns_per_tick = 1ull << 32};
}

/* 2.5 ticks a ns from tick 1000 on. */
static struct rqs_calibration steady(unsigned seconds)
{
	struct rqs_calibration c = fresh();

	for (unsigned i = 0; i <= seconds; i++)
		rqs_calibration_anchor(&c, 1000 + i * S / 2 * 5, 77 * S + i * S);
	return c;
}

static void the_rate_is_the_slope(void **state)
{
	(void)state;
	struct rqs_calibration c = steady(10);

	assert_in_range(rqs_calibration_ticks_per_second(&c), 5 * S / 2 - 5, 5 * S / 2 + 5);
	assert_int_equal(rqs_calibration_ns(&c, 1000 + 10 * S / 2 * 5), 87 * S);
	assert_in_range(rqs_calibration_ns(&c, 1000), 77 * S - 10, 77 * S + 10);
	assert_in_range(rqs_calibration_ns(&c, 1000 + 11 * S / 2 * 5), 88 * S - 1, 88 * S + 1);
	assert_in_range(rqs_calibration_span(&c, 5000, 5000 + 2500), 999, 1000);
}

/* An error of the first, short measure vanishes as the run gets longer. */
static void a_longer_run_is_more_exact(void **state)
{
	(void)state;
	struct rqs_calibration c = fresh();

	rqs_calibration_anchor(&c, 0, S);
	rqs_calibration_anchor(&c, 20000000, S + 20000000 + 400);
	uint64_t early = rqs_calibration_ticks_per_second(&c);
	for (unsigned i = 1; i <= 60; i++)
		rqs_calibration_anchor(&c, 20000000 + i * S, S + 20000000 + i * S);
	uint64_t late = rqs_calibration_ticks_per_second(&c);
	assert_true(S - early > 15000);
	assert_in_range(late, S - 20, S + 20);
}

static void spans_are_never_negative(void **state)
{
	(void)state;
	struct rqs_calibration c = steady(1);

	assert_int_equal(rqs_calibration_span(&c, 10, 9), 0);
	assert_int_equal(rqs_calibration_span(&c, 10, 10), 0);
	assert_int_equal(rqs_calibration_span(&c, UINT64_MAX, 0), 0);
}

/* Ticks that a broken target may write: any, and none overflows. */
static void any_ticks_give_some_time(void **state)
{
	(void)state;
	struct rqs_calibration c = steady(2);

	assert_int_equal(rqs_calibration_ns(&c, 0) / S, 76);
	assert_true(rqs_calibration_ns(&c, UINT64_MAX) > 79 * S);
	c.latest_ns = 10;
	assert_int_equal(rqs_calibration_ns(&c, 0), 0);
}

static void anchors_that_go_back_are_ignored(void **state)
{
	(void)state;
	struct rqs_calibration c = steady(3), before = c;

	rqs_calibration_anchor(&c, c.latest_ticks, c.latest_ns + 5);
	rqs_calibration_anchor(&c, c.latest_ticks - 1, c.latest_ns + 5);
	rqs_calibration_anchor(&c, c.latest_ticks + 1, c.latest_ns);
	assert_memory_equal(&c, &before, sizeof(c));
}

/* A suspended machine: the counter has gone on for an hour, CLOCK_MONOTONIC hasn't. */
static void a_suspend_keeps_the_rate(void **state)
{
	(void)state;
	struct rqs_calibration c = steady(5);
	uint64_t rate = rqs_calibration_ticks_per_second(&c);

	rqs_calibration_anchor(&c, c.latest_ticks + 3600 * S / 2 * 5, c.latest_ns + S);
	assert_int_equal(rqs_calibration_ticks_per_second(&c), rate);
	assert_int_equal(rqs_calibration_ns(&c, c.latest_ticks), 83 * S);
	rqs_calibration_anchor(&c, c.latest_ticks + S / 2 * 5, c.latest_ns + S);
	assert_in_range(rqs_calibration_ticks_per_second(&c), rate - 5, rate + 5);
}

static void the_real_clock_agrees_with_the_kernels(void **state)
{
	(void)state;
	struct rqs_calibration c;
	struct timespec pause = {0, 30000000};

	rqs_calibration_start(&c);
	nanosleep(&pause, NULL);
	rqs_calibration_refresh(&c);
	for (int i = 0; i < 100; i++) {
		uint64_t before = rqs_monotonic_ns();
		uint64_t between = rqs_calibration_ns(&c, rqs_calibration_ticks(&c));
		uint64_t after = rqs_monotonic_ns();

		/* The rate is good to some ppm, and an anchor to the length of its reading. */
		assert_true(between + 20000 > before && between < after + 20000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_rate_is_the_slope),
	    cmocka_unit_test(a_longer_run_is_more_exact),
	    cmocka_unit_test(spans_are_never_negative),
	    cmocka_unit_test(any_ticks_give_some_time),
	    cmocka_unit_test(anchors_that_go_back_are_ignored),
	    cmocka_unit_test(a_suspend_keeps_the_rate),
	    cmocka_unit_test(the_real_clock_agrees_with_the_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
