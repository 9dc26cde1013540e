/* verdict.c - unresolved, regressed, improved, OK, or inconclusive, in this order. */
#include "report/verdict.h"

#include <math.h>
#include <stddef.h>

#define LEVEL 0.05

const char *rqs_verdict_name(enum rqs_verdict verdict)
{
	static const char *const names[] = {
	    [RQS_VERDICT_OK] = "ok",
	    [RQS_VERDICT_IMPROVED] = "improved",
	    [RQS_VERDICT_INCONCLUSIVE] = "inconclusive",
	    [RQS_VERDICT_UNRESOLVED] = "unresolved",
	    [RQS_VERDICT_NOT_COMPARABLE] = "not comparable",
	    [RQS_VERDICT_REGRESSED] = "regressed",
	};

	return names[verdict];
}

const char *rqs_basis_name(enum rqs_basis basis)
{
	static const char *const names[] = {
	    [RQS_BASIS_WITHIN_RUNS] = "within-run",
	    [RQS_BASIS_BETWEEN_RUNS] = "between-runs",
	};

	return names[basis];
}

/* The difference as a lower-is-better one, whose neutral value is `none`. */
struct oriented {
	double estimate, low, high, none;
};

static struct oriented orient(const struct rqs_difference *d, int better)
{
	if (better < 0)
		return (struct oriented){d->estimate, d->low, d->high, d->ratio ? 1 : 0};
	if (d->ratio)
		return (struct oriented){1 / d->estimate, 1 / d->high, 1 / d->low, 1};
	return (struct oriented){-d->estimate, -d->high, -d->low, 0};
}

enum rqs_verdict rqs_verdict_of(const struct rqs_difference *d, int better, double threshold, bool strict)
{
	if (!better)
		return RQS_VERDICT_NONE;
	if (d->unresolved)
		return RQS_VERDICT_UNRESOLVED;
	if (d->basis == RQS_BASIS_NONE || isnan(d->low) || isnan(d->high))
		return RQS_VERDICT_NONE;
	struct oriented o = orient(d, better);
	double allowed = o.none + threshold;
	bool significant = d->adjusted <= LEVEL;

	if (threshold < 0 && o.low > allowed)
		return RQS_VERDICT_REGRESSED;
	if (threshold < 0 && o.high > allowed)
		return RQS_VERDICT_INCONCLUSIVE;
	if (o.low > o.none && significant && (strict ? o.low : o.estimate) > allowed)
		return RQS_VERDICT_REGRESSED;
	if (o.high < o.none && significant)
		return RQS_VERDICT_IMPROVED;
	return o.high <= allowed ? RQS_VERDICT_OK : RQS_VERDICT_INCONCLUSIVE;
}
