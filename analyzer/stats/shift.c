/* shift.c - the replicates of all ratios at once, and how far the farthest of them goes. */
#include "stats/shift.h"
#include "stats/numbers.h"
#include "stats/student.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

static const uint32_t quantile[RQS_SHIFT_POINTS] = {10000, 20000, 30000, 40000, 50000, 60000,
						    70000, 80000, 90000, 95000, 99000, 99900};

struct side {
	struct rqs_estimate estimate[RQS_SHIFT_POINTS];
	double *replicate; /* RQS_RESAMPLES a point */
};

static void side_init(struct side *side, const struct rqs_segments *s, unsigned stream)
{
	struct rqs_statistic statistic[RQS_SHIFT_POINTS];

	side->replicate = rqs_zalloc(RQS_SHIFT_POINTS * RQS_RESAMPLES, sizeof(*side->replicate));
	for (unsigned i = 0; i < RQS_SHIFT_POINTS; i++) {
		statistic[i] = (struct rqs_statistic){.kind = RQS_STATISTIC_QUANTILE, .which = quantile[i]};
		side->estimate[i].replicate = side->replicate + (size_t)i * RQS_RESAMPLES;
	}
	rqs_bootstrap(s, statistic, RQS_SHIFT_POINTS, stream, side->estimate);
}

/* |t| of one draw at one point; 0 where no draw differs, or this one has no values. */
static double deviation(const struct side *base, const struct side *new, unsigned i, unsigned draw,
			const struct rqs_contrast *c)
{
	double ratio = new->estimate[i].replicate[draw] / base->estimate[i].replicate[draw];
	double spread = c->se * sqrt((c->segments - 1.0) / c->segments); /* of the draws themselves */
	double t = spread > 0 ? fabs(log(ratio / c->value)) / spread : 0;

	return isnan(t) ? 0 : t;
}

/* How many standard errors the farthest point of a draw reaches, but for 5 % of the draws. */
static double reach(const struct side *base, const struct side *new, const struct rqs_contrast *c)
{
	double greatest[RQS_RESAMPLES] = {0}, sorted[RQS_RESAMPLES];

	for (unsigned i = 0; i < RQS_SHIFT_POINTS; i++)
		for (unsigned draw = 0; c[i].why == RQS_INTERVAL && draw < RQS_RESAMPLES; draw++)
			greatest[draw] = fmax(greatest[draw], deviation(base, new, i, draw, &c[i]));
	return rqs_numbers_percentile(sorted, rqs_numbers_sort(sorted, greatest, RQS_RESAMPLES), 0.95);
}

/* What makes an interval of the replicates' spread one of t, as in the expanded percentile interval. */
static double expansion(double df)
{
	return rqs_student_quantile(0.975, df) / rqs_student_quantile(0.975, INFINITY);
}

void rqs_shift(const struct rqs_segments *base, const struct rqs_segments *new, struct rqs_shift *shift)
{
	struct rqs_contrast c[RQS_SHIFT_POINTS];
	struct side a, b;

	side_init(&a, base, 1);
	side_init(&b, new, 2);
	for (unsigned i = 0; i < RQS_SHIFT_POINTS; i++)
		rqs_bootstrap_ratio(&a.estimate[i], &b.estimate[i], &c[i]);
	double errors = reach(&a, &b, c);

	for (unsigned i = 0; i < RQS_SHIFT_POINTS; i++) {
		struct rqs_shift_point *p = &shift->point[i];

		*p = (struct rqs_shift_point){.q = quantile[i],
					      .base = a.estimate[i].estimate,
					      .new = b.estimate[i].estimate,
					      .why = c[i].why,
					      .ratio = c[i].value};
		if (p->why)
			continue;
		double half = errors * expansion(c[i].df) * c[i].se + log1p(a.estimate[i].resolution);

		p->low = p->ratio * exp(-half);
		p->high = p->ratio * exp(half);
	}
	free(a.replicate);
	free(b.replicate);
}
