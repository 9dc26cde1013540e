/* power.c - the smallest detectable effect, and its inverse by bisection. */
#include "stats/power.h"
#include "stats/student.h"

#include <math.h>

double rqs_detectable(double se, double df)
{
	return se > 0 ? (rqs_student_quantile(0.975, df) + rqs_student_quantile(0.80, df)) * se : 0;
}

static double detectable_with(unsigned runs, double a, double b)
{
	double squares = a * a + b * b;
	double df = squares > 0 ? (runs - 1) * (a + b) * (a + b) / squares : 2 * (runs - 1);

	return rqs_detectable(sqrt((a + b) / runs), df);
}

unsigned rqs_runs_needed(double effect, double base_variance, double new_variance)
{
	unsigned low = 1, high = RQS_RUNS_LIMIT; /* low runs aren't enough; high are */

	if (!(detectable_with(high, base_variance, new_variance) <= effect))
		return 0;
	while (high - low > 1) {
		unsigned middle = (low + high) / 2;

		if (detectable_with(middle, base_variance, new_variance) <= effect)
			high = middle;
		else
			low = middle;
	}
	return high;
}
