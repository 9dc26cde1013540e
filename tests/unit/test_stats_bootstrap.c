/* test_stats_bootstrap.c - segments and what is drawn from them, against sorting every draw's values. */
#include "unit.h"

#include "stats/bootstrap.h"
#include "stats/dist.h"
#include "stats/random.h"
#include "stats/shift.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

#define MOST 64 /* values of a segment, and segments */

static struct rqs_random generator;
static uint64_t value[MOST][MOST];
static unsigned values[MOST];

static void set_values(struct rqs_segment *s, const uint64_t *v, unsigned n)
{
	struct rqs_histogram *h = rqs_zalloc(1, sizeof(*h));
	uint64_t min = UINT64_MAX, max = 0;

	for (unsigned i = 0; i < n; i++) {
		rqs_histogram_add(h, v[i], 1);
		min = v[i] < min ? v[i] : min;
		max = v[i] > max ? v[i] : max;
		s->sum[0].sum += (double)v[i];
	}
	s->sum[0].count = s->requests = n;
	s->seconds = 1;
	rqs_segment_pack(s, h, min, max);
	rqs_histogram_free(h);
}

/* Segments of value[i][0 .. values[i]). */
static struct rqs_segments of_values(unsigned count)
{
	struct rqs_segments s;

	rqs_segments_init(&s, count, 1);
	for (unsigned i = 0; i < count; i++)
		set_values(&s.segment[i], value[i], values[i]);
	return s;
}

static struct rqs_segments constant(unsigned count, unsigned n, uint64_t v)
{
	for (unsigned i = 0; i < count; i++) {
		values[i] = n;
		for (unsigned j = 0; j < n; j++)
			value[i][j] = v;
	}
	return of_values(count);
}

static struct rqs_segments random_segments(unsigned count, uint64_t seed, uint64_t scale)
{
	rqs_random_seed(&generator, seed);
	for (unsigned i = 0; i < count; i++) {
		values[i] = 20 + rqs_random_below(&generator, MOST - 20);
		for (unsigned j = 0; j < values[i]; j++)
			value[i][j] = scale + rqs_random_below(&generator, (uint32_t)scale);
	}
	return of_values(count);
}

static struct rqs_estimate estimate(const struct rqs_segments *s, enum rqs_statistic_kind kind, uint32_t which)
{
	struct rqs_statistic statistic = {kind, which};
	struct rqs_estimate e = {0};

	rqs_bootstrap(s, &statistic, 1, 1, &e);
	return e;
}

static struct rqs_estimate quantile(const struct rqs_segments *s, uint32_t q)
{
	return estimate(s, RQS_STATISTIC_QUANTILE, q);
}

/* ---- segments ---- */

static void a_run_has_64_segments_of_a_second_or_more(void **unused)
{
	(void)unused;
	assert_int_equal(rqs_segments_of(0), 0);
	assert_int_equal(rqs_segments_of(NAN), 0);
	assert_int_equal(rqs_segments_of(0.3), 1);
	assert_int_equal(rqs_segments_of(9.99), 9);
	assert_int_equal(rqs_segments_of(64), 64);
	assert_int_equal(rqs_segments_of(1e12), 64);
}

static void packed_buckets_are_those_of_the_histogram(void **unused)
{
	struct rqs_histogram *h = rqs_zalloc(1, sizeof(*h));
	struct rqs_segments s;

	(void)unused;
	rqs_histogram_add(h, 0, 3);
	rqs_histogram_add(h, 1, 2);
	rqs_histogram_add(h, UINT64_MAX, 1ull << 40);
	rqs_segments_init(&s, 1, 0);
	rqs_segment_pack(&s.segment[0], h, 0, UINT64_MAX);
	const struct rqs_segment *one = &s.segment[0];
	assert_int_equal(one->buckets, 3);
	assert_true(one->bucket_count[0].bucket == 0 && one->bucket_count[0].count == 3);
	assert_true(one->bucket_count[1].bucket == 1 && one->bucket_count[1].count == 2);
	assert_true(one->bucket_count[2].bucket == RQS_BUCKET_LIMIT && one->bucket_count[2].count == 1ull << 40);
	assert_true(rqs_segment_bucket_value(0) == 0);
	assert_true(rqs_segment_bucket_value(RQS_BUCKET_LIMIT) == rqs_bucket_middle(RQS_BUCKET_LIMIT - 1));
	/* The bucket of the greatest value takes part in quantiles as any other. */
	assert_true(quantile(&s, 99000).estimate > 0x1p63);
	rqs_histogram_free(h);
	rqs_segments_free(&s);
}

static void pooled_runs_outlive_their_parts(void **unused)
{
	struct rqs_segments a = constant(6, 10, 1000), b = constant(5, 10, 3000), pool;
	const struct rqs_segments *both[] = {&a, &b};

	(void)unused;
	rqs_segments_pool(&pool, both, 2);
	rqs_segments_free(&a);
	rqs_segments_free(&b);
	assert_int_equal(pool.count, 11);
	struct rqs_estimate mean = estimate(&pool, RQS_STATISTIC_MEAN, 0);
	assert_int_equal(mean.why, RQS_INTERVAL); /* neither run alone has enough segments */
	assert_true(mean.estimate == (6 * 1000 + 5 * 3000) / 11.0);
	rqs_segments_free(&pool);
	rqs_segments_pool(&pool, both, 0);
	assert_int_equal(pool.count, 0);
	rqs_segments_free(&pool);
}

/* ---- draws ---- */

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The quantile of a draw by writing down all of its values. */
static double drawn_quantile(unsigned count, const uint32_t *weight, uint32_t q)
{
	static uint64_t all[MOST * MOST];
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++)
		for (unsigned w = 0; w < weight[i]; w++)
			for (unsigned j = 0; j < values[i]; j++)
				all[n++] = value[i][j];
	qsort(all, n, sizeof(*all), ascending);
	return rqs_bucket_middle(rqs_bucket_of(all[((uint64_t)n * q + 99999) / 100000 - 1]));
}

static void every_draw_is_that_of_its_values(void **unused)
{
	static const uint32_t qs[] = {10000, 50000, 90000};
	struct rqs_segments s = random_segments(20, 5, 1 << 20);
	struct rqs_statistic statistic[3];
	struct rqs_estimate e[3];
	uint32_t weight[20];

	(void)unused;
	for (unsigned k = 0; k < 3; k++) {
		statistic[k] = (struct rqs_statistic){RQS_STATISTIC_QUANTILE, qs[k]};
		e[k].replicate = rqs_zalloc(RQS_RESAMPLES, sizeof(double));
	}
	rqs_bootstrap(&s, statistic, 3, 7, e);
	rqs_random_seed(&generator, 7);
	for (unsigned r = 0; r < 300; r++) {
		rqs_random_resample(&generator, 20, weight);
		for (unsigned k = 0; k < 3; k++)
			assert_true(e[k].replicate[r] == drawn_quantile(20, weight, qs[k]));
	}
	for (unsigned k = 0; k < 3; k++)
		free(e[k].replicate);
	rqs_segments_free(&s);
}

static void estimates_are_those_of_the_distribution(void **unused)
{
	struct rqs_segments s = random_segments(20, 6, 1000);
	struct rqs_dist d = {0};
	uint16_t place[MOST];

	(void)unused;
	for (uint16_t i = 0; i < MOST; i++)
		place[i] = i;
	for (unsigned i = 0; i < 20; i++)
		rqs_dist_add(&d, value[i], place, values[i], false);
	for (uint32_t q = 1; q <= 100000; q += 3333)
		assert_true(quantile(&s, q).estimate == rqs_dist_quantile(&d, q));
	assert_true(quantile(&s, 100000).estimate == rqs_dist_quantile(&d, 100000));
	rqs_dist_free(&d);
	rqs_segments_free(&s);
}

static void the_same_segments_have_the_same_interval(void **unused)
{
	struct rqs_segments s = random_segments(20, 8, 1000);
	struct rqs_estimate a = quantile(&s, 50000), b = quantile(&s, 50000);

	(void)unused;
	assert_memory_equal(&a, &b, sizeof(a));
	assert_true(a.low < a.estimate && a.estimate < a.high);
	rqs_segments_free(&s);
}

/* ---- when there is no interval ---- */

static void without_values_there_is_no_estimate(void **unused)
{
	struct rqs_segments none = {0}, empty;

	(void)unused;
	rqs_segments_init(&empty, 20, 1);
	for (unsigned kind = RQS_STATISTIC_QUANTILE; kind <= RQS_STATISTIC_ERROR_SHARE; kind++) {
		assert_int_equal(estimate(&none, kind, 0).why, RQS_NO_VALUES);
		assert_int_equal(estimate(&empty, kind, 0).why, RQS_NO_VALUES);
	}
	rqs_segments_free(&empty);
}

static void nine_segments_have_no_interval(void **unused)
{
	struct rqs_segments nine = random_segments(9, 1, 1000), ten = random_segments(10, 1, 1000);

	(void)unused;
	assert_int_equal(quantile(&nine, 50000).why, RQS_FEW_SEGMENTS);
	assert_true(quantile(&nine, 50000).estimate > 1000);
	assert_int_equal(quantile(&ten, 50000).why, RQS_INTERVAL);
	rqs_segments_free(&nine);
	rqs_segments_free(&ten);
}

/* 20 segments of 50 values of 1000, with one of 9000 in some of them, and `together` of them in the first. */
static struct rqs_segments with_tail(unsigned segments, unsigned together)
{
	struct rqs_segments s = constant(20, 50, 1000);

	rqs_segments_free(&s);
	for (unsigned i = 0; i < segments; i++)
		value[i][0] = 9000;
	for (unsigned j = 0; j < together; j++)
		value[0][j] = 9000;
	return of_values(20);
}

static void a_tail_of_few_segments_is_unresolved(void **unused)
{
	struct rqs_segments ten = with_tail(10, 1), nine = with_tail(9, 1), burst = with_tail(1, 10);

	(void)unused;
	/* Ten of 1,000 are beyond p99 in each case, or would be. */
	assert_int_equal(quantile(&ten, 99000).why, RQS_THIN_TAIL);
	assert_int_equal(quantile(&nine, 99000).why, RQS_THIN_TAIL); /* a value of 1000 has the tenth rank beyond */
	assert_int_equal(quantile(&nine, 99100).why, RQS_FEW_BEYOND);
	assert_int_equal(quantile(&burst, 99000).why, RQS_FEW_BEYOND);
	assert_true(quantile(&burst, 99000).estimate < 1100);
	/* The rule is of tails alone. */
	assert_int_equal(quantile(&burst, 89999).why, RQS_INTERVAL);
	rqs_segments_free(&ten);
	rqs_segments_free(&nine);
	rqs_segments_free(&burst);
}

static void equal_values_are_beyond_as_far_as_their_ranks_are(void **unused)
{
	struct rqs_segments many = constant(20, 50, 1000), few = constant(20, 49, 1000);

	(void)unused;
	/* 1,000 values have ten ranks beyond p99, 980 have nine; of 20 beyond p98 each segment may have one. */
	assert_int_equal(quantile(&many, 99000).why, RQS_THIN_TAIL);
	assert_int_equal(quantile(&few, 99000).why, RQS_FEW_BEYOND);
	assert_int_equal(quantile(&many, 98000).why, RQS_INTERVAL);
	struct rqs_estimate e = quantile(&many, 98000);
	assert_true(e.low == 1000 && e.estimate == 1000 && e.high == 1000);
	rqs_segments_free(&many);
	rqs_segments_free(&few);
}

/* 20 segments of 1000 and, in every second one, the slowest 1 % of 9000: so many of them. */
static struct rqs_segments with_values_beyond(unsigned beyond)
{
	struct rqs_segments s;

	rqs_segments_init(&s, 20, 1);
	for (unsigned i = 0; i < 20; i++) {
		struct rqs_histogram *h = rqs_zalloc(1, sizeof(*h));
		unsigned slow = i % 2 ? 0 : beyond / 10 + (i == 0) * (beyond % 10);

		rqs_histogram_add(h, 1000, beyond * 5 - slow);
		rqs_histogram_add(h, 9000, slow);
		rqs_segment_pack(&s.segment[i], h, 1000, slow ? 9000 : 1000);
		rqs_histogram_free(h);
	}
	return s;
}

static void four_hundred_values_beyond_are_enough(void **unused)
{
	/* p99 of 40,000 and of 39,900 values, of which every second segment has some beyond. */
	struct rqs_segments enough = with_values_beyond(400), few = with_values_beyond(399);

	(void)unused;
	struct rqs_estimate e = quantile(&enough, 99000);
	assert_int_equal(e.why, RQS_INTERVAL);
	assert_true(e.df == 10 / 3.0 - 1); /* as good as so few segments are: the interval is wider */
	assert_int_equal(quantile(&few, 99000).why, RQS_THIN_TAIL);
	rqs_segments_free(&enough);
	rqs_segments_free(&few);
}

static void draws_without_values_are_left_out(void **unused)
{
	struct rqs_segments s = random_segments(60, 3, 1000);
	struct rqs_statistic statistic = {RQS_STATISTIC_MEAN, 0};
	double replicate[RQS_RESAMPLES];
	struct rqs_estimate e = {.replicate = replicate};
	unsigned without = 0;

	(void)unused;
	/* Values in 10 of 60 segments: some draw takes none of those. */
	for (unsigned i = 10; i < 60; i++)
		s.segment[i].sum[0] = (struct rqs_segment_sum){0};
	for (unsigned stream = 0; !without && stream < 100; stream++) {
		rqs_bootstrap(&s, &statistic, 1, stream, &e);
		for (unsigned r = 0; r < RQS_RESAMPLES; r++)
			without += isnan(replicate[r]);
	}
	assert_true(without > 0);
	assert_int_equal(e.segments, 10);
	assert_true(1000 < e.low && e.low < e.estimate && e.estimate < e.high && e.high < 2000);
	struct rqs_contrast c;
	rqs_bootstrap_ratio(&e, &e, &c);
	assert_true(c.value == 1 && c.p == 1 && c.low == 1 && c.high == 1);
	rqs_segments_free(&s);
}

/* ---- two sides ---- */

static struct rqs_contrast contrast(const struct rqs_segments *base, const struct rqs_segments *new,
				    struct rqs_statistic statistic, bool ratio)
{
	static double replicate[2][RQS_RESAMPLES];
	struct rqs_estimate a = {.replicate = replicate[0]}, b = {.replicate = replicate[1]};
	struct rqs_contrast c;

	rqs_bootstrap(base, &statistic, 1, 1, &a);
	rqs_bootstrap(new, &statistic, 1, 2, &b);
	(ratio ? rqs_bootstrap_ratio : rqs_bootstrap_difference)(&a, &b, &c);
	return c;
}

static const struct rqs_statistic median = {RQS_STATISTIC_QUANTILE, 50000}, mean = {RQS_STATISTIC_MEAN, 0},
				  errors = {RQS_STATISTIC_ERROR_SHARE, 0}, rate = {RQS_STATISTIC_RATE, 0};

static void twice_the_time_is_told_apart(void **unused)
{
	struct rqs_segments a = random_segments(30, 1, 1000), b = random_segments(30, 2, 2000);
	struct rqs_contrast c = contrast(&a, &b, median, true);

	(void)unused;
	assert_int_equal(c.why, RQS_INTERVAL);
	assert_true(1.5 < c.low && c.low < c.value && c.value < c.high && c.high < 2.5);
	assert_true(c.p < 0.005 && c.p > 0);
	assert_true(c.se > 0 && c.df == 29);
	c = contrast(&a, &b, mean, false);
	assert_true(1300 < c.low && c.low < c.value && c.value < c.high && c.high < 1700);
	rqs_segments_free(&a);
	rqs_segments_free(&b);
}

static void neighbouring_buckets_are_not_told_apart(void **unused)
{
	uint64_t here = 1000000, there = (uint64_t)(here * 1.0027);

	(void)unused;
	assert_int_equal(rqs_bucket_of(there), rqs_bucket_of(here) + 1);
	struct rqs_segments a = constant(30, 40, here), b = constant(30, 40, there);
	struct rqs_contrast c = contrast(&a, &b, median, true);
	assert_true(c.value > 1 && c.low <= 1 && c.high > c.value);
	assert_true(c.p == 1);
	/* The same values' means are exact. */
	c = contrast(&a, &b, mean, true);
	assert_true(c.low > 1 && c.low == c.high && c.p < 0.05);
	rqs_segments_free(&a);
	rqs_segments_free(&b);
}

static void a_ratio_to_no_errors_is_none(void **unused)
{
	struct rqs_segments a = constant(30, 40, 1000), b = constant(30, 40, 1000);

	(void)unused;
	for (unsigned i = 0; i < 30; i += 2)
		b.segment[i].errors = 4;
	assert_int_equal(contrast(&a, &b, errors, true).why, RQS_ZERO);
	struct rqs_contrast c = contrast(&a, &b, errors, false);
	assert_int_equal(c.why, RQS_INTERVAL);
	assert_true(c.value == 0.05 && 0 < c.low && c.high < 0.1 && c.p < 0.05);
	rqs_segments_free(&a);
	rqs_segments_free(&b);
}

static void errors_in_one_segment_leave_the_ratio_open(void **unused)
{
	struct rqs_segments a = constant(30, 40, 1000), b = constant(30, 40, 1000);

	(void)unused;
	a.segment[0].errors = b.segment[0].errors = 40;
	struct rqs_contrast c = contrast(&a, &b, errors, true);
	assert_int_equal(c.why, RQS_INTERVAL);
	assert_true(c.low == 0 && isinf(c.high) && isinf(c.se) && c.p > 0.3);
	rqs_segments_free(&a);
	rqs_segments_free(&b);
}

static void rates_count_the_segments_times(void **unused)
{
	struct rqs_segments a = constant(30, 40, 1000), b = constant(30, 40, 1000);

	(void)unused;
	for (unsigned i = 0; i < 30; i++)
		b.segment[i].seconds = 2;
	struct rqs_contrast c = contrast(&a, &b, rate, true);
	assert_true(c.value == 0.5 && c.low == 0.5 && c.high == 0.5 && c.p < 0.05);
	rqs_segments_free(&a);
	rqs_segments_free(&b);
}

/* ---- shift function ---- */

static void the_band_has_the_points_that_are_resolved(void **unused)
{
	struct rqs_segments a = random_segments(40, 1, 1000), b = random_segments(40, 2, 2000);
	struct rqs_shift shift;

	(void)unused;
	rqs_shift(&a, &b, &shift);
	for (unsigned i = 0; i < RQS_SHIFT_POINTS; i++) {
		const struct rqs_shift_point *p = &shift.point[i];

		assert_true(p->base >= 1000 && p->new >= 2000);
		if (p->q == 99900) /* of 1,700 values */
			assert_int_equal(p->why, RQS_FEW_BEYOND);
		if (p->why)
			continue;
		assert_true(1 < p->low && p->low < p->ratio && p->ratio < p->high);
		/* A band of all points is wider than the interval of one. */
		struct rqs_contrast c = contrast(&a, &b, (struct rqs_statistic){RQS_STATISTIC_QUANTILE, p->q}, true);
		assert_true(p->high / p->low > 1.1 * c.high / c.low - 0.1);
	}
	assert_int_equal(shift.point[4].q, 50000);
	assert_int_equal(shift.point[4].why, RQS_INTERVAL);
	rqs_segments_free(&a);
	rqs_segments_free(&b);
}

static void a_constant_time_shifts_without_a_spread(void **unused)
{
	struct rqs_segments a = constant(40, 50, 1000), b = constant(40, 50, 2000), few = constant(3, 50, 2000);
	struct rqs_shift shift;

	(void)unused;
	rqs_shift(&a, &b, &shift);
	assert_true(shift.point[0].why == RQS_INTERVAL && shift.point[0].ratio == 2);
	assert_true(1.99 < shift.point[0].low && shift.point[0].high < 2.01);
	rqs_shift(&a, &few, &shift);
	for (unsigned i = 0; i < RQS_SHIFT_POINTS; i++)
		assert_true(shift.point[i].why == RQS_FEW_SEGMENTS || shift.point[i].q >= 99000);
	rqs_segments_free(&a);
	rqs_segments_free(&b);
	rqs_segments_free(&few);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_run_has_64_segments_of_a_second_or_more),
	    cmocka_unit_test(packed_buckets_are_those_of_the_histogram),
	    cmocka_unit_test(pooled_runs_outlive_their_parts),
	    cmocka_unit_test(every_draw_is_that_of_its_values),
	    cmocka_unit_test(estimates_are_those_of_the_distribution),
	    cmocka_unit_test(the_same_segments_have_the_same_interval),
	    cmocka_unit_test(without_values_there_is_no_estimate),
	    cmocka_unit_test(nine_segments_have_no_interval),
	    cmocka_unit_test(a_tail_of_few_segments_is_unresolved),
	    cmocka_unit_test(equal_values_are_beyond_as_far_as_their_ranks_are),
	    cmocka_unit_test(four_hundred_values_beyond_are_enough),
	    cmocka_unit_test(draws_without_values_are_left_out),
	    cmocka_unit_test(twice_the_time_is_told_apart),
	    cmocka_unit_test(neighbouring_buckets_are_not_told_apart),
	    cmocka_unit_test(a_ratio_to_no_errors_is_none),
	    cmocka_unit_test(errors_in_one_segment_leave_the_ratio_open),
	    cmocka_unit_test(rates_count_the_segments_times),
	    cmocka_unit_test(the_band_has_the_points_that_are_resolved),
	    cmocka_unit_test(a_constant_time_shifts_without_a_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
