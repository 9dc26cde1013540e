/* test_ticks.c - round ticks, and where values lie on an axis. */
#include "unit.h"

#include "render/ticks.h"

#include <math.h>
#include <stdlib.h>

static void assert_ticks(const struct rqs_scale *s, const char *want)
{
	char got[400] = "";

	for (unsigned i = 0; i < s->ticks; i++) {
		char *text = rqs_tick_text(s, s->tick[i]);

		strcat(strcat(got, i ? "|" : ""), text);
		free(text);
	}
	assert_string_equal(got, want);
}

static void assert_axis(enum rqs_axis_unit unit, enum rqs_axis_scale kind, double low, double high, const char *want)
{
	const struct rqs_axis axis = {NULL, unit, kind};
	struct rqs_scale s = rqs_scale_make(&axis, low, high, true);

	assert_ticks(&s, want);
	assert_true(s.low <= low && s.high >= high);
}

static void linear(void **unused)
{
	(void)unused;
	assert_axis(RQS_AXIS_SECONDS, RQS_AXIS_LINEAR, 0, 0.0043, "0|1 ms|2 ms|3 ms|4 ms|5 ms");
	assert_axis(RQS_AXIS_SECONDS, RQS_AXIS_LINEAR, 0, 1.2e-6, "0|0.5 µs|1 µs|1.5 µs");
	assert_axis(RQS_AXIS_SECONDS, RQS_AXIS_LINEAR, 0, 1200, "0|5 min|10 min|15 min|20 min");
	assert_axis(RQS_AXIS_SECONDS, RQS_AXIS_LINEAR, 0, 36000, "0|2 h|4 h|6 h|8 h|10 h");
	assert_axis(RQS_AXIS_BYTES, RQS_AXIS_LINEAR, 0, 23.5e6, "0|5 MB|10 MB|15 MB|20 MB|25 MB");
	assert_axis(RQS_AXIS_RATE, RQS_AXIS_LINEAR, 0, 19000, "0|5 k/s|10 k/s|15 k/s|20 k/s");
	assert_axis(RQS_AXIS_PART, RQS_AXIS_LINEAR, -0.21, 0.34, "-40 %|-20 %|0 %|20 %|40 %");
	assert_axis(RQS_AXIS_COUNT, RQS_AXIS_LINEAR, 0, 0, "0|0.2|0.4|0.6|0.8|1");
}

static void logarithmic(void **unused)
{
	(void)unused;
	assert_axis(RQS_AXIS_SECONDS, RQS_AXIS_LOG, 0.00031, 0.0043, "200 µs|500 µs|1 ms|2 ms|5 ms");
	assert_axis(RQS_AXIS_SECONDS, RQS_AXIS_LOG, 0.001, 0.001, "1 ms|2 ms");
	assert_axis(RQS_AXIS_SECONDS, RQS_AXIS_LOG, 3e-6, 4, "10 µs|100 µs|1 ms|10 ms|100 ms|1 s");
	assert_axis(RQS_AXIS_BYTES, RQS_AXIS_LOG, 1, 1e12, "1 B|100 B|10 kB|1 MB|100 MB|10 GB|1 TB");
}

static void of_the_tail(void **unused)
{
	const struct rqs_axis axis = {NULL, RQS_AXIS_PART, RQS_AXIS_TAIL};
	struct rqs_scale s = rqs_scale_make(&axis, 0, 0.9999, false);

	(void)unused;
	assert_ticks(&s, "50 %|90 %|99 %|99.9 %|99.99 %");
	assert_true(fabs(rqs_scale_place(&s, 0.9) - 0.25) < 1e-9 && fabs(rqs_scale_place(&s, 0.999) - 0.75) < 1e-9);
	assert_true(isnan(rqs_scale_place(&s, 1)));
	s = rqs_scale_make(&axis, 0, 0.9, false);
	assert_ticks(&s, "0 %|50 %|90 %");
}

static void places(void **unused)
{
	const struct rqs_axis axis = {NULL, RQS_AXIS_SECONDS, RQS_AXIS_LOG};
	struct rqs_scale s = rqs_scale_make(&axis, 0.001, 1, true);

	(void)unused;
	assert_true(fabs(rqs_scale_place(&s, 0.01) - 1. / 3) < 1e-9);
	assert_true(isnan(rqs_scale_place(&s, 0)) && isnan(rqs_scale_place(&s, -1)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(linear),
	    cmocka_unit_test(logarithmic),
	    cmocka_unit_test(of_the_tail),
	    cmocka_unit_test(places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
