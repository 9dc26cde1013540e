/* test_histogram.c - bucket bounds against exact integers, and distributions against sorting. */
#include "unit.h"

#include "stats/dist.h"

#include <math.h>
#include <stdlib.h>

/* ---- v^256 as 512 limbs of 32 bits: bucket k is right when 2^(k-1) < v^256 <= 2^k ---- */

#define LIMBS 520

struct big {
	uint32_t limb[LIMBS];
	unsigned used;
};

static void square(struct big *b)
{
	static struct big result;

	memset(&result, 0, sizeof(result));
	for (unsigned i = 0; i < b->used; i++) {
		uint64_t carry = 0;

		for (unsigned j = 0; j < b->used || carry; j++) {
			uint64_t term = j < b->used ? (uint64_t)b->limb[i] * b->limb[j] : 0;
			uint64_t sum = result.limb[i + j] + (term & UINT32_MAX) + (carry & UINT32_MAX);

			result.limb[i + j] = (uint32_t)sum;
			carry = (carry >> 32) + (term >> 32) + (sum >> 32);
		}
	}
	result.used = b->used * 2;
	while (result.used && !result.limb[result.used - 1])
		result.used--;
	*b = result;
}

static unsigned exact_bucket(uint64_t v)
{
	struct big b = {.limb = {(uint32_t)v, (uint32_t)(v >> 32)}, .used = v >> 32 ? 2 : 1};
	unsigned ones = 0;

	for (int i = 0; i < 8; i++)
		square(&b);
	unsigned bits = 32 * b.used - (unsigned)__builtin_clz(b.limb[b.used - 1]);
	for (unsigned i = 0; i < b.used; i++)
		ones += (unsigned)__builtin_popcount(b.limb[i]);
	return ones == 1 ? bits - 1 : bits; /* the power of two itself belongs to the bucket below it */
}

static uint64_t state = 88172645463325252ull;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static void assert_bucket(uint64_t v)
{
	if (v && rqs_bucket_of(v) != exact_bucket(v))
		fail_msg("bucket of %llu is %u, not %u", (unsigned long long)v, rqs_bucket_of(v), exact_bucket(v));
}

static void buckets_of_small_values_are_exact(void **unused)
{
	(void)unused;
	for (uint64_t v = 1; v < 2000; v++)
		assert_bucket(v);
}

static void buckets_at_bounds_are_exact(void **unused)
{
	(void)unused;
	for (unsigned e = 0; e < 64; e++)
		for (int d = -1; d <= 1; d++)
			assert_bucket((1ull << e) + (uint64_t)d);
	/* Around every bound of some octaves, the last one included. */
	for (unsigned k = 0; k < 256; k++) {
		static const unsigned octaves[] = {12, 30, 52, 63};

		for (unsigned o = 0; o < sizeof(octaves) / sizeof(octaves[0]); o++) {
			uint64_t bound = (uint64_t)(exp2l(octaves[o] + k / 256.0L));

			for (int d = -1; d <= 1; d++)
				assert_bucket(bound + (uint64_t)d);
		}
	}
	assert_bucket(UINT64_MAX);
	assert_int_equal(rqs_bucket_of(UINT64_MAX), RQS_BUCKET_LIMIT - 1);
}

static void buckets_of_any_values_are_exact(void **unused)
{
	(void)unused;
	for (int i = 0; i < 1000; i++)
		assert_bucket(next_random() >> (next_random() & 63));
}

static void buckets_never_go_down(void **unused)
{
	(void)unused;
	for (uint64_t v = 1; v < 1 << 20; v++)
		assert_true(rqs_bucket_of(v) <= rqs_bucket_of(v + 1));
}

/* ---- distributions ---- */

#define VALUES 20000

static uint64_t value[VALUES];
static uint16_t index_of[VALUES];

static void fill(unsigned distinct)
{
	for (unsigned i = 0; i < VALUES; i++) {
		value[i] = distinct ? next_random() % distinct * 1000003 : next_random() >> (next_random() % 60);
		index_of[i] = (uint16_t)i;
	}
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t ranked(const uint64_t *values, uint64_t n, uint32_t q)
{
	static uint64_t sorted[VALUES];
	uint64_t rank = (n * q + 99999) / 100000;

	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), ascending);
	return sorted[rank - 1];
}

static void assert_same(const struct rqs_dist *a, const struct rqs_dist *b)
{
	struct rqs_summary x = rqs_dist_summary(a), y = rqs_dist_summary(b);

	assert_memory_equal(&x, &y, sizeof(x)); /* bit for bit */
	assert_true(a->sum == b->sum);
	for (unsigned p = 0; a->histogram && p < RQS_HISTOGRAM_PAGES; p++) {
		assert_int_equal(!a->histogram->page[p], !b->histogram->page[p]);
		if (a->histogram->page[p])
			assert_memory_equal(a->histogram->page[p], b->histogram->page[p], 256 * sizeof(uint64_t));
	}
}

static void quantiles_are_middles_of_the_right_buckets(void **unused)
{
	struct rqs_dist d = {0};

	(void)unused;
	fill(0);
	rqs_dist_add(&d, value, index_of, VALUES, false);
	for (uint32_t q = 1; q <= 100000; q += 7777) {
		uint64_t v = ranked(value, VALUES, q);
		double got = rqs_dist_quantile(&d, q), want = v ? rqs_bucket_middle(rqs_bucket_of(v)) : 0;

		want = fmax(fmin(want, (double)d.max), (double)d.min);
		assert_true(got == want);
		assert_true(fabs(got - (double)v) <= 0.0014 * (double)v);
	}
	rqs_dist_free(&d);
}

static void few_distinct_values_stay_exact(void **unused)
{
	struct rqs_dist d = {0};

	(void)unused;
	fill(RQS_TALLY_MAX);
	rqs_dist_add(&d, value, index_of, VALUES, true);
	assert_non_null(d.tally);
	for (uint32_t q = 1; q <= 100000; q += 7777)
		assert_true(rqs_dist_quantile(&d, q) == (double)ranked(value, VALUES, q));
	rqs_dist_free(&d);
}

static void the_4097th_value_falls_to_buckets(void **unused)
{
	struct rqs_dist exact = {0}, plain = {0};

	(void)unused;
	for (unsigned i = 0; i <= RQS_TALLY_MAX; i++) {
		value[i] = i * 31;
		index_of[i] = (uint16_t)i;
	}
	rqs_dist_add(&exact, value, index_of, RQS_TALLY_MAX, true);
	assert_non_null(exact.tally);
	rqs_dist_add(&exact, value, index_of + RQS_TALLY_MAX, 1, true);
	assert_null(exact.tally);
	rqs_dist_add(&plain, value, index_of, RQS_TALLY_MAX + 1, false);
	assert_same(&exact, &plain);
	rqs_dist_free(&exact);
	rqs_dist_free(&plain);
}

static void assert_merge_is_one_pass(bool exact, unsigned distinct)
{
	enum { PARTS = 7 };
	struct rqs_dist whole = {0}, forward = {0}, backward = {0}, part[PARTS] = {0};

	fill(distinct);
	rqs_dist_add(&whole, value, index_of, VALUES, exact);
	for (unsigned i = 0; i < VALUES; i++)
		rqs_dist_add(&part[next_random() % PARTS], value, index_of + i, 1, exact);
	for (unsigned p = 0; p < PARTS; p++) {
		rqs_dist_merge(&forward, &part[p]);
		rqs_dist_merge(&backward, &part[PARTS - 1 - p]);
	}
	assert_same(&forward, &whole);
	assert_same(&backward, &whole);
	for (unsigned p = 0; p < PARTS; p++)
		rqs_dist_free(&part[p]);
	rqs_dist_free(&whole);
	rqs_dist_free(&forward);
	rqs_dist_free(&backward);
}

static void a_merge_equals_one_pass(void **unused)
{
	(void)unused;
	assert_merge_is_one_pass(false, 0);
	assert_merge_is_one_pass(true, 50);
	assert_merge_is_one_pass(true, 3000);
	assert_merge_is_one_pass(true, 6000); /* the parts are exact, the whole isn't */
	assert_merge_is_one_pass(true, 0);
}

static void sums_of_great_values_do_not_wrap(void **unused)
{
	struct rqs_dist d = {0};

	(void)unused;
	for (unsigned i = 0; i < 1000; i++) {
		value[i] = UINT64_MAX - 1;
		index_of[i] = (uint16_t)i;
	}
	value[999] = RQS_DIST_SKIP;
	rqs_dist_add(&d, value, index_of, 1000, false);
	assert_int_equal(d.count, 999);
	assert_true(rqs_dist_summary(&d).mean == (double)(UINT64_MAX - 1));
	rqs_dist_free(&d);
}

static void a_thinned_distribution_keeps_its_summary(void **unused)
{
	(void)unused;
	for (unsigned exact = 0; exact < 2; exact++) {
		struct rqs_dist d = {0};

		rqs_dist_thin(&d); /* of nothing nothing is left */
		assert_null(d.thin);
		rqs_dist_add(&d, value, index_of, 1000, exact);
		struct rqs_summary whole = rqs_dist_summary(&d);
		rqs_dist_thin(&d);
		rqs_dist_thin(&d);
		struct rqs_summary kept = rqs_dist_summary(&d);
		assert_memory_equal(&kept, &whole, sizeof(kept));
		assert_true(isnan(rqs_dist_quantile(&d, 12345)) && !d.histogram && !d.tally);
		assert_int_equal(rqs_stats_memory, 0);
		rqs_dist_free(&d);
	}
}

static void memory_is_given_back(void **unused)
{
	(void)unused;
	assert_int_equal(rqs_stats_memory, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(buckets_of_small_values_are_exact),
	    cmocka_unit_test(buckets_at_bounds_are_exact),
	    cmocka_unit_test(buckets_of_any_values_are_exact),
	    cmocka_unit_test(buckets_never_go_down),
	    cmocka_unit_test(quantiles_are_middles_of_the_right_buckets),
	    cmocka_unit_test(few_distinct_values_stay_exact),
	    cmocka_unit_test(the_4097th_value_falls_to_buckets),
	    cmocka_unit_test(a_merge_equals_one_pass),
	    cmocka_unit_test(sums_of_great_values_do_not_wrap),
	    cmocka_unit_test(a_thinned_distribution_keeps_its_summary),
	    cmocka_unit_test(memory_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
