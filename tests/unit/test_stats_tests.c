/* test_stats_tests.c - small samples and p values at their edges; the numbers are checked against SciPy in tests/cli.
 */
#include "unit.h"

#include "stats/adjust.h"
#include "stats/cliff.h"
#include "stats/permutation.h"
#include "stats/power.h"
#include "stats/random.h"
#include "stats/numbers.h"
#include "stats/student.h"
#include "stats/welch.h"

#include <math.h>
#include <stdlib.h>

/* ---- random numbers ---- */

static void the_generator_is_the_published_one(void **unused)
{
	struct rqs_random r = {{1, 2, 3, 4}};

	(void)unused;
	/* The first three of xoshiro256** from this state, by its definition: rotl(s[1] * 5, 7) * 9. */
	assert_true(rqs_random_next(&r) == 11520);
	assert_true(rqs_random_next(&r) == 0);
	assert_true(rqs_random_next(&r) == 1509978240);
	/* splitmix64's first of seed 0, as its authors' program prints it. */
	rqs_random_seed(&r, 0);
	assert_true(r.state[0] == 0xE220A8397B1DCDAFull);
	assert_true(r.state[1] == 0x6E789E6AA1B965F4ull);
}

static void numbers_below_n_are_all_there_equally_often(void **unused)
{
	struct rqs_random r;
	unsigned seen[7] = {0};

	(void)unused;
	rqs_random_seed(&r, 3);
	for (unsigned i = 0; i < 70000; i++)
		seen[rqs_random_below(&r, 7)]++;
	for (unsigned i = 0; i < 7; i++)
		assert_true(seen[i] > 9600 && seen[i] < 10400); /* more than 4 standard deviations */
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(rqs_random_below(&r, 1), 0);
		assert_true(rqs_random_below(&r, UINT32_MAX) < UINT32_MAX);
	}
}

static void a_resample_draws_as_many_as_there_are(void **unused)
{
	struct rqs_random r;
	uint32_t weight[64];
	unsigned left_out = 0;

	(void)unused;
	rqs_random_seed(&r, 1);
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t sum = 0;

		rqs_random_resample(&r, 64, weight);
		for (unsigned k = 0; k < 64; k++) {
			sum += weight[k];
			left_out += !weight[k];
		}
		assert_int_equal(sum, 64);
	}
	assert_true(fabs(left_out / 64000.0 - pow(63 / 64.0, 64)) < 0.005);
	rqs_random_resample(&r, 0, weight);
}

/* ---- samples and t ---- */

static void samples_close_to_each_other_keep_their_variance(void **unused)
{
	double close[] = {1e9, 1e9 + 1, 1e9 + 2}, equal[] = {0.1, 0.1, 0.1}, odd[] = {3, NAN, -INFINITY, 1};
	double sorted[4];

	(void)unused;
	assert_true(rqs_numbers_mean(close, 3) == 1e9 + 1 && rqs_numbers_variance(close, 3) == 1);
	assert_true(rqs_numbers_mean(equal, 3) == 0.1 && rqs_numbers_variance(equal, 3) == 0);
	assert_true(rqs_numbers_variance(close, 1) == 0);
	assert_int_equal(rqs_numbers_sort(sorted, odd, 4), 3);
	assert_true(isinf(sorted[0]) && sorted[1] == 1 && sorted[2] == 3);
	assert_true(rqs_numbers_percentile(sorted, 3, 0.5) == 1);
	assert_true(rqs_numbers_percentile(sorted, 3, 0.625) == 2);
	assert_true(isinf(rqs_numbers_percentile(sorted, 3, 0.3)));
	assert_true(rqs_numbers_percentile(sorted, 3, 0) == sorted[0] && rqs_numbers_percentile(sorted, 3, 1) == 3);
}

static void t_is_symmetric_and_ends_at_0_and_1(void **unused)
{
	static const double dfs[] = {0.1, 1, 4.5, 63, 1e12, INFINITY};

	(void)unused;
	for (unsigned i = 0; i < sizeof(dfs) / sizeof(*dfs); i++) {
		assert_true(rqs_student_cdf(0, dfs[i]) == 0.5);
		assert_true(rqs_student_cdf(-INFINITY, dfs[i]) == 0 && rqs_student_cdf(INFINITY, dfs[i]) == 1);
		assert_true(fabs(rqs_student_cdf(1.5, dfs[i]) + rqs_student_cdf(-1.5, dfs[i]) - 1) < 1e-15);
		assert_true(rqs_student_quantile(0.25, dfs[i]) == -rqs_student_quantile(0.75, dfs[i]));
		assert_true(fabs(rqs_student_quantile(0.5, dfs[i])) < 1e-12);
		assert_true(fabs(rqs_student_cdf(rqs_student_quantile(0.975, dfs[i]), dfs[i]) - 0.975) < 1e-12);
	}
}

/* ---- two small samples ---- */

static void welch_says_what_it_can(void **unused)
{
	double one[] = {5}, equal[] = {3, 3, 3}, other[] = {7, 7}, spread[] = {6, 7, 8};
	struct rqs_welch w = rqs_welch(one, 1, spread, 3, 0);

	(void)unused;
	assert_true(!w.known && w.difference == 2);
	w = rqs_welch(equal, 3, other, 2, 0);
	assert_true(w.known && w.se == 0 && w.df == 3 && w.low == 4 && w.high == 4);
	w = rqs_welch(equal, 3, other, 2, 0.25);
	assert_true(w.low == 3.75 && w.high == 4.25);
	w = rqs_welch(equal, 3, spread, 3, 0);
	assert_true(w.known && fabs(w.df - 2) < 1e-12 && w.low < 4 && w.high > 4);
	/* Variances whose squares underflow still have their degrees of freedom. */
	double tiny[] = {1e-160, 2e-160, 3e-160};
	w = rqs_welch(tiny, 3, tiny, 3, 0);
	assert_true(w.se > 0 && fabs(w.df - 4) < 1e-9);
}

static void permutation_p_of_few_values(void **unused)
{
	double low[] = {1, 2, 3, 4, 5}, high[] = {6, 7, 8, 9, 10}, equal[] = {2, 2, 2, 2, 2}, one[] = {100};

	(void)unused;
	assert_true(rqs_permutation_p(low, 5, high, 5) == 2 / 252.0);
	assert_true(rqs_permutation_p(high, 5, low, 5) == 2 / 252.0);
	assert_true(rqs_permutation_p(low, 5, low, 5) == 1);
	assert_true(rqs_permutation_p(equal, 5, equal, 5) == 1);
	assert_true(rqs_permutation_p(low, 1, one, 1) == 1); /* either way round it differs as much */
	assert_true(rqs_permutation_p(low, 5, one, 1) == 1 / 6.0);
}

static void ties_by_rounding_are_ties(void **unused)
{
	/* 0.1 + 0.7 and 0.3 + 0.5 have one sum, but for rounding. */
	double base[] = {0.1, 0.7}, new[] = {0.3, 0.5}, far_base[] = {1e9 + 0.1, 1e9 + 0.7},
	       far_new[] = {1e9 + 0.3, 1e9 + 0.5};

	(void)unused;
	assert_true(rqs_permutation_p(base, 2, new, 2) == 1);
	assert_true(rqs_permutation_p(far_base, 2, far_new, 2) == 1);
}

static void the_least_p_is_that_of_sides_wide_apart(void **unused)
{
	double base[20], new[20];

	(void)unused;
	for (unsigned i = 0; i < 20; i++) {
		base[i] = i;
		new[i] = 1000 + i * 1.5;
	}
	for (unsigned n = 1; n <= 20; n += n < 6 ? 1 : 7)
		for (unsigned m = 1; m <= 20; m += m < 6 ? 1 : 7)
			assert_true(rqs_permutation_p(base, n, new, m) == rqs_permutation_least_p(n, m) ||
				    (n == 1 && m == 1));
	assert_true(rqs_permutation_least_p(1, 1) == 1);
	assert_true(rqs_permutation_least_p(10, 10) == 2 / 184756.0);
}

/* ---- many tests, effects, histograms ---- */

static void what_is_no_test_does_not_count(void **unused)
{
	double p[] = {0.02, NAN, 0.01}, q[] = {0.02, NAN, 0.01}, same[] = {0.02, 0.02, 0.02}, none[1];

	(void)unused;
	rqs_adjust_holm(p, 3);
	assert_true(p[0] == 0.02 && isnan(p[1]) && p[2] == 0.02);
	rqs_adjust_benjamini_hochberg(q, 3);
	assert_true(q[0] == 0.02 && isnan(q[1]) && q[2] == 0.02);
	rqs_adjust_holm(same, 3);
	assert_true(same[0] == same[1] && same[1] == same[2] && fabs(same[0] - 0.06) < 1e-15);
	rqs_adjust_holm(none, 0);
	rqs_adjust_benjamini_hochberg(none, 0);
}

static void effects_and_runs_agree(void **unused)
{
	(void)unused;
	assert_true(rqs_detectable(0, 8) == 0);
	assert_true(fabs(rqs_detectable(1, INFINITY) - 2.8015852) < 1e-6);
	assert_int_equal(rqs_runs_needed(1, 0, 0), 2);
	assert_int_equal(rqs_runs_needed(1e-9, 1, 1), 0);
	/* One side alone varies: its degrees of freedom alone count. */
	unsigned runs = rqs_runs_needed(0.1, 0.01, 0);
	assert_true(rqs_detectable(sqrt(0.01 / runs), runs - 1) <= 0.1);
	assert_true(rqs_detectable(sqrt(0.01 / (runs - 1)), runs - 2) > 0.1);
}

static void deltas_of_histograms(void **unused)
{
	struct rqs_histogram empty = {0}, zeros = {.zeros = 1ull << 40}, great = {0}, both = {.zeros = 1};

	(void)unused;
	rqs_histogram_add(&great, 1 << 20, 1ull << 40);
	rqs_histogram_add(&both, 1 << 20, 1);
	assert_true(isnan(rqs_cliff_delta(&empty, &great)) && isnan(rqs_cliff_delta(&great, &empty)));
	assert_true(rqs_cliff_delta(&zeros, &great) == 1 && rqs_cliff_delta(&great, &zeros) == -1);
	assert_true(rqs_cliff_delta(&great, &great) == 0 && rqs_cliff_delta(&zeros, &both) == 0.5);
	for (unsigned page = 0; page < RQS_HISTOGRAM_PAGES; page++) {
		free(great.page[page]);
		free(both.page[page]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_generator_is_the_published_one),
	    cmocka_unit_test(numbers_below_n_are_all_there_equally_often),
	    cmocka_unit_test(a_resample_draws_as_many_as_there_are),
	    cmocka_unit_test(samples_close_to_each_other_keep_their_variance),
	    cmocka_unit_test(t_is_symmetric_and_ends_at_0_and_1),
	    cmocka_unit_test(welch_says_what_it_can),
	    cmocka_unit_test(permutation_p_of_few_values),
	    cmocka_unit_test(ties_by_rounding_are_ties),
	    cmocka_unit_test(the_least_p_is_that_of_sides_wide_apart),
	    cmocka_unit_test(what_is_no_test_does_not_count),
	    cmocka_unit_test(effects_and_runs_agree),
	    cmocka_unit_test(deltas_of_histograms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
