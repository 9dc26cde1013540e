/* welch.c - standard error, Satterthwaite's degrees of freedom, interval. */
#include "stats/welch.h"
#include "stats/numbers.h"
#include "stats/student.h"

#include <math.h>

struct rqs_welch rqs_welch(const double *base, unsigned n, const double *new, unsigned m, double resolution)
{
	struct rqs_welch w = {.difference = rqs_numbers_mean(new, m) - rqs_numbers_mean(base, n),
			      .known = n > 1 && m > 1};

	if (!w.known)
		return w;
	double a = rqs_numbers_variance(base, n) / n, b = rqs_numbers_variance(new, m) / m;
	double share = a + b > 0 ? a / (a + b) : 0;

	w.se = sqrt(a + b);
	/* (a + b)^2 / (a^2 / (n - 1) + b^2 / (m - 1)), written so that small variances don't underflow */
	w.df = a + b > 0 ? 1 / (share * share / (n - 1) + (1 - share) * (1 - share) / (m - 1)) : n + m - 2.0;
	double reach = (w.se > 0 ? rqs_student_quantile(0.975, w.df) * w.se : 0) + resolution;

	w.low = w.difference - reach;
	w.high = w.difference + reach;
	return w;
}
