/* attribution.c - compositions from breakdowns. */
#include "report/attribution.h"

static const struct {
	const char *name, *title;
} parts[RQS_PARTS_AND_OTHER] = {
#define PART(symbol, metric, name, title) {#name, title},
    RQS_PARTS(PART)
#undef PART
	{"other", "other"},
};

const char *rqs_part_name(unsigned part)
{
	return parts[part].name;
}

const char *rqs_part_title(unsigned part)
{
	return parts[part].title;
}

struct rqs_composition rqs_compose(const struct rqs_result *r, int route, double share)
{
	const struct rqs_cell *cell = rqs_route_cell(r, route);

	if (!cell)
		return (struct rqs_composition){0};
	struct rqs_breakdown_mean mean = rqs_breakdown_slowest(&cell->breakdown, share);
	struct rqs_composition composition = {.requests = mean.requests, .latency = mean.latency / 1e9};
	double left = composition.latency;

	for (unsigned p = 0; p < RQS_PART_COUNT; p++) {
		composition.measured[p] = cell->breakdown.measured[p] > 0;
		composition.part[p] = mean.part[p] / 1e9;
		left -= composition.part[p];
	}
	/* A response that is computed while it is sent counts as both: then the sending is only what is left. */
	if (left < 0) {
		double doubled = -left < composition.part[RQS_PART_SEND] ? -left : composition.part[RQS_PART_SEND];

		composition.part[RQS_PART_SEND] -= doubled;
		left += doubled;
	}
	composition.part[RQS_PART_OTHER] = left;
	composition.measured[RQS_PART_OTHER] = true;
	return composition;
}
