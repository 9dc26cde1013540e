/* test_usage.c - CPU at the edges of a window, memory by sweep, and moments in time. */
#include "unit.h"

#include "model/usage.h"
#include "model/window.h"
#include "read/columns.h"

#include <math.h>
#include <stdlib.h>

#define S 1000000000ull
#define MB 1000000ull

static void assert_cpu(const struct rqs_usage *u, uint64_t from, uint64_t to, double user, double system)
{
	double got_user, got_system;

	assert_true(rqs_usage_cpu(u, from, to, &got_user, &got_system));
	assert_true(fabs(got_user - user) < 1e-9);
	assert_true(fabs(got_system - system) < 1e-9);
}

static void cpu_is_read_off_at_the_edges(void **unused)
{
	struct rqs_usage u = {0};

	(void)unused;
	rqs_usage_start(&u, 0, 10 * S);
	for (uint64_t i = 1; i <= 10; i++) /* half a core of user time, a tenth of system time */
		rqs_usage_sample(&u, 0, 10 * S + i * S, i * 500000, i * 100000, RQS_NULL);
	rqs_usage_finish(&u);
	assert_cpu(&u, 10 * S, 20 * S, 5, 1);
	assert_cpu(&u, 10 * S + S / 4, 10 * S + S / 2, 0.125, 0.025); /* before the first sample */
	assert_cpu(&u, 12 * S + S / 2, 13 * S + S / 4, 0.375, 0.075);
	assert_cpu(&u, 5 * S, 10 * S, 0, 0);
	assert_cpu(&u, 19 * S, 90 * S, 0.5, 0.1); /* it had ended */
	assert_int_equal(u.sweeps, 0);
	rqs_usage_free(&u);
}

static void without_samples_nothing_is_known(void **unused)
{
	struct rqs_usage u = {0};
	double user, system;

	(void)unused;
	rqs_usage_start(&u, 3, S);
	rqs_usage_sample(&u, 3, 2 * S, RQS_NULL, RQS_NULL, MB);
	assert_false(rqs_usage_cpu(&u, 0, 9 * S, &user, &system));
	rqs_usage_free(&u);
}

static void memory_is_summed_by_sweep(void **unused)
{
	struct rqs_usage u = {0};

	(void)unused;
	for (uint64_t i = 0; i < 4; i++) {
		uint64_t t = i * S / 10;

		rqs_usage_sample(&u, 0, t, 0, 0, 10 * MB);
		rqs_usage_sample(&u, 7, t + 20, 0, 0, 5 * MB);
		if (i == 2) /* a short-lived one */
			rqs_usage_sample(&u, 9, t + 40000000, 0, 0, 100 * MB);
	}
	rqs_usage_finish(&u);
	assert_int_equal(u.sweeps, 4);
	assert_int_equal(u.rss_peak, 115 * MB);
	assert_int_equal((uint64_t)u.rss_sum, 160 * MB);
	rqs_usage_free(&u);
}

/* Ten hours at 10 Hz: memory is bounded, and the CPU of a part still right within a sample or two. */
static void long_recordings_are_thinned_out(void **unused)
{
	struct rqs_usage u = {0};
	double user, system;

	(void)unused;
	for (uint64_t i = 0; i < 360000; i++)
		for (uint32_t p = 0; p < 3; p++)
			rqs_usage_sample(&u, p, i * S / 10, i * 100000, 0, MB);
	rqs_usage_finish(&u);
	assert_in_range(u.points, 1000, RQS_USAGE_POINTS_MAX);
	assert_int_equal(u.sweeps, 360000);
	assert_true(rqs_usage_cpu(&u, 1000 * S, 30000 * S, &user, &system));
	assert_true(fabs(user - 3 * 29000) < 1);
	rqs_usage_free(&u);
}

static uint64_t absolute(const char *text)
{
	struct rqs_moment m;

	assert_true(rqs_moment_parse(&m, text));
	assert_int_equal(m.kind, RQS_MOMENT_ABSOLUTE);
	return m.ns;
}

static void moments_are_parsed(void **unused)
{
	static const char *const bad[] = {"",
					  "x",
					  "1x",
					  "nan",
					  "inf",
					  "-1",
					  "1e300",
					  "2026-01-01",
					  "2026-01-01T00:00:00",
					  "2026-01-01T00:00:00+2",
					  "2026-01-01T00:00:00Zx",
					  "1900-01-01T00:00:00Z"};
	struct rqs_moment m;
	char *text;

	(void)unused;
	assert_true(rqs_moment_parse(&m, "1.5"));
	assert_int_equal(m.ns, 1500000000);
	assert_int_equal(absolute("2026-01-01T00:00:00Z"), 1767225600 * S);
	assert_int_equal(absolute("2026-01-01t01:30:00.25+01:30"), 1767225600 * S + S / 4);
	assert_int_equal(absolute("2025-12-31T19:00:00-05:00"), 1767225600 * S);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(rqs_moment_parse(&m, bad[i]));
	text = rqs_rfc3339(1767225600 * S + 7 * 1000000);
	assert_string_equal(text, "2026-01-01T00:00:00.007Z");
	free(text);
}

static void moments_go_to_the_clock(void **unused)
{
	struct rqs_moment none = {0}, relative = {RQS_MOMENT_RELATIVE, 2 * S}, past = {RQS_MOMENT_ABSOLUTE, 1};
	struct rqs_moment at = {RQS_MOMENT_ABSOLUTE, 1005 * S};

	(void)unused;
	assert_int_equal(rqs_moment_on_clock(&none, 50, 10 * S, 1000 * S, 77), 77);
	assert_int_equal(rqs_moment_on_clock(&relative, 50, 10 * S, 1000 * S, 77), 2 * S + 50);
	assert_int_equal(rqs_moment_on_clock(&at, 50, 10 * S, 1000 * S, 77), 15 * S);
	assert_int_equal(rqs_moment_on_clock(&past, 50, 10 * S, 1000 * S, 77), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cpu_is_read_off_at_the_edges), cmocka_unit_test(without_samples_nothing_is_known),
	    cmocka_unit_test(memory_is_summed_by_sweep),    cmocka_unit_test(long_recordings_are_thinned_out),
	    cmocka_unit_test(moments_are_parsed),           cmocka_unit_test(moments_go_to_the_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
