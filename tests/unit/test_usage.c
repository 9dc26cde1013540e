/* test_usage.c - CPU at the edges of a window, memory by sweep, and moments in time. */
#include "unit.h"

#include "model/usage.h"
#include "model/window.h"
#include "read/columns.h"

#include <math.h>
#include <stdlib.h>

#define S 1000000000ull
#define MB 1000000ull

static void sample(struct rqs_usage *u, uint32_t process, uint64_t time, uint64_t user, uint64_t system, uint64_t rss)
{
	struct rqs_usage_sample s;

	memset(&s, 0xff, sizeof(s)); /* RQS_NULL */
	s.time = time;
	s.counter[RQS_COUNTERS_CPU][0] = user;
	s.counter[RQS_COUNTERS_CPU][1] = system;
	s.gauge[RQS_GAUGE_RSS] = rss;
	rqs_usage_add(u, process, &s);
}

static void assert_cpu(const struct rqs_usage *u, uint64_t from, uint64_t to, double user, double system)
{
	double us[2];

	rqs_usage_counted(u, RQS_COUNTERS_CPU, from, to, us);
	assert_true(u->counted[RQS_COUNTERS_CPU][0] && u->counted[RQS_COUNTERS_CPU][1]);
	assert_true(fabs(us[0] / 1e6 - user) < 1e-9);
	assert_true(fabs(us[1] / 1e6 - system) < 1e-9);
}

static void cpu_is_read_off_at_the_edges(void **unused)
{
	struct rqs_usage u = {0};

	(void)unused;
	rqs_usage_start(&u, 0, 10 * S);
	for (uint64_t i = 1; i <= 10; i++) /* half a core of user time, a tenth of system time */
		sample(&u, 0, 10 * S + i * S, i * 500000, i * 100000, RQS_NULL);
	rqs_usage_finish(&u);
	assert_cpu(&u, 10 * S, 20 * S, 5, 1);
	assert_cpu(&u, 10 * S + S / 4, 10 * S + S / 2, 0.125, 0.025); /* before the first sample */
	assert_cpu(&u, 12 * S + S / 2, 13 * S + S / 4, 0.375, 0.075);
	assert_cpu(&u, 5 * S, 10 * S, 0, 0);
	assert_cpu(&u, 19 * S, 90 * S, 0.5, 0.1); /* it had ended */
	assert_int_equal(u.gauge[RQS_GAUGE_RSS].sweeps, 0);
	rqs_usage_free(&u);
}

static void without_samples_nothing_is_known(void **unused)
{
	struct rqs_usage u = {0};

	(void)unused;
	rqs_usage_start(&u, 3, S);
	sample(&u, 3, 2 * S, RQS_NULL, RQS_NULL, MB);
	rqs_usage_finish(&u);
	assert_false(u.counted[RQS_COUNTERS_CPU][0]);
	assert_false(u.counted[RQS_COUNTERS_GC][1]);
	assert_int_equal(u.gauge[RQS_GAUGE_RSS].sweeps, 1);
	assert_int_equal(u.gauge[RQS_GAUGE_GOROUTINES].sweeps, 0);
	rqs_usage_free(&u);
}

static void memory_is_summed_by_sweep(void **unused)
{
	struct rqs_usage u = {0};

	(void)unused;
	for (uint64_t i = 0; i < 4; i++) {
		uint64_t t = i * S / 10;

		sample(&u, 0, t, 0, 0, 10 * MB);
		sample(&u, 7, t + 20, 0, 0, 5 * MB);
		if (i == 2) /* a short-lived one */
			sample(&u, 9, t + 40000000, 0, 0, 100 * MB);
	}
	rqs_usage_finish(&u);
	assert_int_equal(u.gauge[RQS_GAUGE_RSS].sweeps, 4);
	assert_int_equal(u.gauge[RQS_GAUGE_RSS].peak, 115 * MB);
	assert_int_equal((uint64_t)u.gauge[RQS_GAUGE_RSS].sum, 160 * MB);
	rqs_usage_free(&u);
}

/* Ten hours at 10 Hz: memory is bounded, and the CPU of a part still right within a sample or two. */
static void long_recordings_are_thinned_out(void **unused)
{
	struct rqs_usage u = {0};
	double us[2];

	(void)unused;
	for (uint64_t i = 0; i < 360000; i++)
		for (uint32_t p = 0; p < 3; p++)
			sample(&u, p, i * S / 10, i * 100000, 0, MB);
	rqs_usage_finish(&u);
	assert_in_range(u.points, 1000, RQS_USAGE_POINTS_MAX);
	assert_int_equal(u.gauge[RQS_GAUGE_RSS].sweeps, 360000);
	rqs_usage_counted(&u, RQS_COUNTERS_CPU, 1000 * S, 30000 * S, us);
	assert_true(fabs(us[0] / 1e6 - 3 * 29000) < 1);
	rqs_usage_free(&u);
}

/* So many that their edges alone are more points than there should be. */
static void very_many_processes_are_bounded(void **unused)
{
	struct rqs_usage u = {0};
	struct rqs_usage_sample s = {.time = S};

	(void)unused;
	for (uint32_t p = 0; p < 65536; p++)
		rqs_usage_start(&u, p, 1);
	for (unsigned i = 0; i < 20; i++, s.time += S)
		for (uint32_t p = 0; p < 65536; p++)
			rqs_usage_add(&u, p, &s);
	assert_in_range(u.points, 4 * 65536, 8 * 65536 + 1);
	rqs_usage_free(&u);
}

/* Two Go programs and one that is none: what isn't measured counts nowhere. */
static void figures_of_runtimes_are_kept_apart(void **unused)
{
	struct rqs_usage u = {0};
	struct rqs_usage_sample s;
	double gc[2];

	(void)unused;
	rqs_usage_start(&u, 0, 10 * S);
	for (uint64_t i = 1; i <= 10; i++) {
		memset(&s, 0xff, sizeof(s));
		s.time = 10 * S + i * S;
		s.gauge[RQS_GAUGE_RSS] = 70 * MB;
		rqs_usage_add(&u, 2, &s);
		s.gauge[RQS_GAUGE_RSS] = 20 * MB;
		s.gauge[RQS_GAUGE_HEAP_IN_USE] = i * MB;
		s.counter[RQS_COUNTERS_GC][0] = 3 * i;
		rqs_usage_add(&u, 0, &s);
		s.counter[RQS_COUNTERS_GC][1] = 1000 * i;
		s.gauge[RQS_GAUGE_GOROUTINES] = i == 5 ? RQS_NULL : 4;
		rqs_usage_add(&u, 1, &s);
	}
	rqs_usage_finish(&u);
	rqs_usage_gained(&u, RQS_COUNTERS_GC, 10 * S + S / 2, 12 * S + S / 2, gc);
	assert_true(gc[0] == 9 + 6); /* the second has no start: it counts from its first sample */
	assert_true(gc[1] == 2000);
	rqs_usage_gained(&u, RQS_COUNTERS_GC, 12 * S, 13 * S, gc);
	assert_true(gc[0] == 6 && gc[1] == 1000);
	rqs_usage_gained(&u, RQS_COUNTERS_GC, 0, 90 * S, gc);
	assert_true(gc[0] == 30 + 27 && gc[1] == 9000);
	rqs_usage_gained(&u, RQS_COUNTERS_GC, 80 * S, 90 * S, gc);
	assert_true(gc[0] == 0 && gc[1] == 0);
	assert_true(u.counted[RQS_COUNTERS_GC][0] && u.counted[RQS_COUNTERS_GC][1]);
	assert_false(u.counted[RQS_COUNTERS_CPU][0]);
	assert_int_equal(u.gauge[RQS_GAUGE_HEAP_IN_USE].peak, 20 * MB);
	assert_int_equal((uint64_t)u.gauge[RQS_GAUGE_HEAP_IN_USE].sum, 110 * MB);
	assert_int_equal(u.gauge[RQS_GAUGE_RSS].peak, 110 * MB);
	assert_int_equal(u.gauge[RQS_GAUGE_GOROUTINES].sweeps, 9);
	assert_int_equal(u.gauge[RQS_GAUGE_HEAP_GOAL].sweeps, 0);
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
	    cmocka_unit_test(cpu_is_read_off_at_the_edges),
	    cmocka_unit_test(without_samples_nothing_is_known),
	    cmocka_unit_test(memory_is_summed_by_sweep),
	    cmocka_unit_test(long_recordings_are_thinned_out),
	    cmocka_unit_test(very_many_processes_are_bounded),
	    cmocka_unit_test(figures_of_runtimes_are_kept_apart),
	    cmocka_unit_test(moments_are_parsed),
	    cmocka_unit_test(moments_go_to_the_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
