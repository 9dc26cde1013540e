/* charts.h - the charts of a report or comparison: one side, or several in one picture. */
#ifndef REQSCOPE_CHARTS_H
#define REQSCOPE_CHARTS_H

#include "model/result.h"
#include "render/doc.h"
#include "stats/segments.h"

struct rqs_chart_side {
	const char *name;
	const struct rqs_result *result; /* of all its runs */
	const struct rqs_result *run;    /* the one whose course is shown */
	struct rqs_segments segments;    /* of all its runs and routes */
};

/* Those that there are numbers for. Of several sides the first is the base. */
void rqs_doc_add_charts(struct rqs_doc *d, const struct rqs_chart_side *side, unsigned sides);

#endif
