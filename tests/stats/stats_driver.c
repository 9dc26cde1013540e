/*
 * stats_driver.c - the statistics by themselves: a command and its numbers a line on stdin, a JSON array a line on
 * stdout.
 *
 *   cdf T DF | quantile P DF | chi_square P DF
 *   welch N base.. M new..          -> difference, se, df, low, high (null: not known)
 *   permutation N base.. M new..    -> p
 *   holm N p.. | bh N p..           -> adjusted
 *   cliff N base.. M new..          -> delta; whole numbers
 *   detectable SE DF | runs EFFECT BASE_VARIANCE NEW_VARIANCE
 *
 * Numbers are read by strtod, so "inf" is one.
 */
#include "stats/adjust.h"
#include "stats/cliff.h"
#include "stats/gamma.h"
#include "stats/permutation.h"
#include "stats/power.h"
#include "stats/student.h"
#include "stats/welch.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *rest; /* of the line */

static double number(void)
{
	char *end;
	double v = strtod(rest, &end);

	if (end == rest)
		exit(2);
	rest = end;
	return v;
}

static double *numbers(unsigned *n)
{
	*n = (unsigned)number();
	double *v = rqs_zalloc(*n, sizeof(*v));

	for (unsigned i = 0; i < *n; i++)
		v[i] = number();
	return v;
}

static void print(const double *v, unsigned n)
{
	printf("[");
	for (unsigned i = 0; i < n; i++)
		isfinite(v[i]) ? printf("%s%.17g", i ? ", " : "", v[i]) : printf("%snull", i ? ", " : "");
	printf("]\n");
}

static struct rqs_histogram *histogram_of(const double *v, unsigned n)
{
	struct rqs_histogram *h = rqs_zalloc(1, sizeof(*h));

	for (unsigned i = 0; i < n; i++)
		rqs_histogram_add(h, (uint64_t)v[i], 1);
	return h;
}

static double cliff(const double *base, unsigned n, const double *new, unsigned m)
{
	struct rqs_histogram *a = histogram_of(base, n), *b = histogram_of(new, m);
	double delta = rqs_cliff_delta(a, b);

	rqs_histogram_free(a);
	rqs_histogram_free(b);
	return delta;
}

static void two_sides(const char *command)
{
	unsigned n, m;
	double *base = numbers(&n), *new = numbers(&m);

	if (!strcmp(command, "welch")) {
		struct rqs_welch w = rqs_welch(base, n, new, m, 0);
		double all[] = {w.difference, w.se, w.df, w.low, w.high};

		print(all, w.known ? 5 : 1);
	} else {
		double v = !strcmp(command, "cliff") ? cliff(base, n, new, m) : rqs_permutation_p(base, n, new, m);

		print(&v, 1);
	}
	free(base);
	free(new);
}

static void adjusted(void (*adjust)(double *, unsigned))
{
	unsigned n;
	double *p = numbers(&n);

	adjust(p, n);
	print(p, n);
	free(p);
}

static double scalar(const char *command)
{
	double a = number(), b = number();

	if (!strcmp(command, "cdf"))
		return rqs_student_cdf(a, b);
	if (!strcmp(command, "quantile"))
		return rqs_student_quantile(a, b);
	if (!strcmp(command, "chi_square"))
		return rqs_chi_square_quantile(a, b);
	if (!strcmp(command, "detectable"))
		return rqs_detectable(a, b);
	if (!strcmp(command, "runs"))
		return rqs_runs_needed(a, b, number());
	exit(2);
}

int main(void)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0) {
		char *command = strtok_r(line, " \n", &rest);

		if (!strcmp(command, "holm")) {
			adjusted(rqs_adjust_holm);
		} else if (!strcmp(command, "bh")) {
			adjusted(rqs_adjust_benjamini_hochberg);
		} else if (strstr("welch permutation cliff", command)) {
			two_sides(command);
		} else {
			double v = scalar(command);

			print(&v, 1);
		}
	}
	free(line);
}
