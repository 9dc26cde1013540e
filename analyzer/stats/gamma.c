/* gamma.c - the incomplete gamma function and its inverse. */
#include "stats/gamma.h"
#include "stats/student.h"

#include <math.h>

#define MANY_DEGREES 2000.0
#define STEPS 5000 /* more than either of the two below takes for so few degrees */
#define PRECISION 1e-14

/* What both have in front: x^a e^-x / gamma(a). */
static double factor(double a, double x)
{
	return exp(a * log(x) - x - lgamma(a));
}

static double series(double a, double x)
{
	double term = 1 / a, sum = term;

	for (int n = 1; n < STEPS && term > sum * PRECISION; n++) {
		term *= x / (a + n);
		sum += term;
	}
	return sum * factor(a, x);
}

/* Of the upper part. */
static double fraction(double a, double x)
{
	double b = x + 1 - a, c = 1e300, d = 1 / b, h = d;

	for (int n = 1; n < STEPS; n++) {
		double an = -n * (n - a);

		b += 2;
		d = 1 / (an * d + b);
		c = b + an / c;
		h *= d * c;
		if (fabs(d * c - 1) < PRECISION)
			break;
	}
	return h * factor(a, x);
}

static double lower_gamma(double a, double x)
{
	if (x <= 0)
		return 0;
	return x < a + 1 ? series(a, x) : 1 - fraction(a, x);
}

double rqs_chi_square_quantile(double p, double df)
{
	double low = 0, high = 2 * df + 100;

	if (df >= MANY_DEGREES) {
		double v = 2 / (9 * df), root = 1 - v + rqs_student_quantile(p, INFINITY) * sqrt(v);

		return df * root * root * root;
	}
	for (int i = 0; i < 200 && high - low > PRECISION * high; i++) {
		double middle = (low + high) / 2;

		if (lower_gamma(df / 2, middle / 2) < p)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}
