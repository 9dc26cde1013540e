/* student.c - incomplete beta, the tail of t, and its inverse. */
#include "stats/student.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

/* From here on the normal distribution differs by less than 1e-11: the first term of the expansion is (t^3 + t) / 4 df.
 */
#define NORMAL_FROM 1e10

static double away_from_zero(double x)
{
	return fabs(x) < DBL_MIN / DBL_EPSILON ? DBL_MIN / DBL_EPSILON : x;
}

/* DLMF 8.17.22; converges fast for x < (a + 1) / (a + b + 2), in a number of steps like sqrt(max(a, b)). */
static double beta_fraction(double a, double b, double x)
{
	double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), result = d, factor = 0;

	for (int m = 1; m < 1000000 && fabs(factor - 1) > DBL_EPSILON; m++) {
		double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
		double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));

		d = 1 / away_from_zero(1 + even * d);
		c = away_from_zero(1 + even / c);
		result *= c * d;
		d = 1 / away_from_zero(1 + odd * d);
		c = away_from_zero(1 + odd / c);
		factor = c * d;
		result *= factor;
	}
	return result;
}

/* ln(gamma(a + 1/2) / gamma(a)). For great a the two logarithms would cancel; the series is DLMF 5.11.8's. */
static double log_gamma_half_step(double a)
{
	if (a < 30)
		return lgamma(a + 0.5) - lgamma(a);
	double r = 1 / a, r2 = r * r;

	return log(a) / 2 - r / 8 + r * r2 / 192 - r * r2 * r2 / 640 + r * r2 * r2 * r2 * 17 / 14336;
}

/* P(T > t) for t >= 0: half of I_x(df/2, 1/2) with x = df / (df + t^2). */
static double upper_tail(double t, double df)
{
	if (df > NORMAL_FROM)
		return erfc(t * M_SQRT1_2) / 2;
	double a = df / 2, b = 0.5, square = t * t;

	if (isinf(square))
		return 0;
	double x = df / (df + square), rest = square / (df + square);
	/* ln of x^a (1 - x)^b / B(a, b); gamma(1/2) is the root of pi. */
	double log_front = -a * log1p(square / df) + b * log(rest) + log_gamma_half_step(a) - log(M_PI) / 2;

	if (!t)
		return 0.5;
	if (x < (a + 1) / (a + b + 2))
		return exp(log_front) * beta_fraction(a, b, x) / a / 2;
	return (1 - exp(log_front) * beta_fraction(b, a, rest) / b) / 2;
}

double rqs_student_cdf(double t, double df)
{
	return t < 0 ? upper_tail(-t, df) : 1 - upper_tail(t, df);
}

/* The t >= 0 with this tail: the last interval that bisection leaves has no number inside. */
static double tail_quantile(double tail, double df)
{
	double low = 0, high = 1;

	while (upper_tail(high, df) > tail && high < DBL_MAX / 2) {
		low = high;
		high *= 2;
	}
	for (;;) {
		double middle = low + (high - low) / 2;

		if (middle <= low || middle >= high)
			return middle;
		if (upper_tail(middle, df) > tail)
			low = middle;
		else
			high = middle;
	}
}

double rqs_student_quantile(double p, double df)
{
	return p < 0.5 ? -tail_quantile(p, df) : tail_quantile(1 - p, df);
}
