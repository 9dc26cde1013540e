/* adjust.c - a step down and a step up along the sorted values. */
#include "stats/adjust.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
	double x = **(double *const *)a, y = **(double *const *)b;

	return x < y ? -1 : x > y;
}

/* Where the numbers among p are, ascending; freed by the caller. */
static double **sorted_places(double *p, unsigned n, unsigned *used)
{
	double **place = rqs_zalloc(n, sizeof(*place));

	*used = 0;
	for (unsigned i = 0; i < n; i++)
		if (!isnan(p[i]))
			place[(*used)++] = &p[i];
	qsort(place, *used, sizeof(*place), by_value);
	return place;
}

void rqs_adjust_holm(double *p, unsigned n)
{
	unsigned tests;
	double **place = sorted_places(p, n, &tests), least = 0;

	for (unsigned i = 0; i < tests; i++)
		*place[i] = least = fmin(1, fmax(least, *place[i] * (tests - i)));
	free(place);
}

void rqs_adjust_benjamini_hochberg(double *p, unsigned n)
{
	unsigned tests;
	double **place = sorted_places(p, n, &tests), most = 1;

	for (unsigned i = tests; i-- > 0;)
		*place[i] = most = fmin(most, *place[i] * tests / (i + 1));
	free(place);
}
