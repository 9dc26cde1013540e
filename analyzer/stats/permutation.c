/*
 * permutation.c - all ways, or a sample of them.
 *
 * The values are centred first, so the sum of the base side alone tells the difference of means:
 * sum / n - (0 - sum) / m = sum (1 / n + 1 / m).
 */
#include "stats/permutation.h"
#include "stats/random.h"
#include "stats/numbers.h"
#include "base/alloc.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct deal {
	double *value; /* all, centred */
	unsigned n, all;
	double least; /* a sum this far from 0 counts */
	double ways, extreme;
};

/* The number of ways to choose n of all, in double; exact as far as it matters here. */
static double choose(unsigned all, unsigned n)
{
	double ways = 1;

	for (unsigned i = 1; i <= n; i++)
		ways = ways * (all - n + i) / i;
	return ways;
}

static void count_way(struct deal *d, double sum)
{
	d->ways++;
	d->extreme += fabs(sum) >= d->least;
}

/* Every choice of `left` of the values from `from` on, added to sum. */
static void deal_all(struct deal *d, unsigned from, unsigned left, double sum)
{
	if (!left) {
		count_way(d, sum);
		return;
	}
	for (unsigned i = from; i + left <= d->all; i++)
		deal_all(d, i + 1, left - 1, sum + d->value[i]);
}

static void deal_some(struct deal *d)
{
	struct rqs_random random;

	rqs_random_seed(&random, d->all);
	d->ways = d->extreme = 1;
	for (unsigned way = 0; way < RQS_PERMUTATIONS_SAMPLED; way++) {
		double sum = 0;

		for (unsigned i = 0; i < d->n; i++) {
			unsigned other = i + rqs_random_below(&random, d->all - i);
			double v = d->value[other];

			d->value[other] = d->value[i];
			d->value[i] = v;
			sum += v;
		}
		count_way(d, sum);
	}
}

double rqs_permutation_p(const double *base, unsigned n, const double *new, unsigned m)
{
	struct deal d = {.value = rqs_zalloc(n + m, sizeof(double)), .n = n, .all = n + m};
	double seen = 0, size = 0;

	memcpy(d.value, base, n * sizeof(*base));
	memcpy(d.value + n, new, m * sizeof(*new));
	double mean = rqs_numbers_mean(d.value, d.all);
	for (unsigned i = 0; i < d.all; i++) {
		size += fabs(d.value[i]);
		d.value[i] -= mean;
		seen += i < n ? d.value[i] : 0;
	}
	d.least = fabs(seen) - d.all * DBL_EPSILON * size; /* what all the rounding can make at most */
	if (choose(d.all, n) <= RQS_PERMUTATIONS_EXACT)
		deal_all(&d, 0, n, 0);
	else
		deal_some(&d);
	free(d.value);
	return d.extreme / d.ways;
}

double rqs_permutation_least_p(unsigned n, unsigned m)
{
	double ways = choose(n + m, n);

	if (ways > RQS_PERMUTATIONS_EXACT)
		return 1.0 / (RQS_PERMUTATIONS_SAMPLED + 1);
	/* With sides of one size, swapping them differs as much. */
	return (n == m ? 2 : 1) / ways;
}
