/*
 * shift.h - the shift function: by how much each quantile differs, along the whole distribution, with a band that holds
 * all differences at once in 95 % of cases.
 *
 * Doksum, "Empirical probability plots and statistical inference for nonlinear models in the two-sample case", Annals
 * of Statistics 2, 1974; its use with a few quantiles: Rousselet, Pernet and Wilcox, "Beyond differences in means",
 * European Journal of Neuroscience 46, 2017. The band is that of the greatest |t|, of the quantiles' logarithms here:
 * Montiel Olea and Plagborg-Møller, "Simultaneous confidence bands", Journal of Applied Econometrics 34, 2019.
 */
#ifndef REQSCOPE_SHIFT_H
#define REQSCOPE_SHIFT_H

#include "stats/bootstrap.h"

#define RQS_SHIFT_POINTS 12

struct rqs_shift_point {
	uint32_t q;               /* in 1/100,000 */
	double base, new;         /* the quantiles */
	enum rqs_no_interval why; /* of either side; a point without an interval isn't part of the band */
	double ratio, low, high;  /* of new / base; the band's, if why is RQS_INTERVAL */
};

struct rqs_shift {
	struct rqs_shift_point point[RQS_SHIFT_POINTS]; /* 10, 20 .. 90, 95, 99 and 99.9 % */
};

void rqs_shift(const struct rqs_segments *base, const struct rqs_segments *new, struct rqs_shift *shift);

#endif
