/* numbers.c - two passes for the variance, since the values may be close to each other. */
#include "stats/numbers.h"

#include <math.h>
#include <stdlib.h>

double rqs_numbers_mean(const double *value, unsigned n)
{
	double sum = 0, rest = 0;

	for (unsigned i = 0; i < n; i++)
		sum += value[i];
	sum /= n;
	/* What rounding left; it makes the mean of equal values exactly theirs. */
	for (unsigned i = 0; i < n; i++)
		rest += value[i] - sum;
	return isfinite(rest) ? sum + rest / n : sum;
}

double rqs_numbers_variance(const double *value, unsigned n)
{
	double mean = rqs_numbers_mean(value, n), squares = 0;

	if (n < 2)
		return 0;
	for (unsigned i = 0; i < n; i++)
		squares += (value[i] - mean) * (value[i] - mean);
	return squares / (n - 1);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

unsigned rqs_numbers_sort(double *sorted, const double *value, unsigned n)
{
	unsigned used = 0;

	for (unsigned i = 0; i < n; i++)
		if (!isnan(value[i]))
			sorted[used++] = value[i];
	qsort(sorted, used, sizeof(*sorted), ascending);
	return used;
}

double rqs_numbers_percentile(const double *sorted, unsigned n, double p)
{
	double at = p * (n + 1) - 1;

	if (at <= 0)
		return sorted[0];
	if (at >= n - 1)
		return sorted[n - 1];
	const double *below = sorted + (unsigned)at;
	double share = at - floor(at);

	if (isinf(below[0]) || isinf(below[1]))
		return below[share >= 0.5];
	return below[0] + share * (below[1] - below[0]);
}
