/*
 * sides.h - the sides of a comparison: each one or more runs, with a name.
 *
 *   gin.rqs            one run
 *   a1.rqs,a2.rqs      two runs
 *   'gin-*.rqs'        a pattern: one run a file
 *   Gin=gin.rqs        with a name in front of any of these
 */
#ifndef REQSCOPE_SIDES_H
#define REQSCOPE_SIDES_H

#include "model/trace.h"

struct rqs_side {
	char *name;               /* unique among the sides once traces are loaded */
	bool named;               /* by the command line */
	unsigned first, runs;     /* its traces */
	struct rqs_result result; /* of all runs */
};

struct rqs_comparison {
	unsigned sides;
	struct rqs_side *side; /* the first is the base */
	unsigned files;
	char **file; /* of all sides, in order: what to load */
	struct rqs_traces traces;
};

/* Reads the arguments. NULL, or what is wrong, to be freed. */
char *rqs_sides_parse(struct rqs_comparison *c, char *const *arguments, unsigned count);
/*
 * For rqs_load_options.loaded, the context being the comparison: moves a run's numbers to its side. Without it all
 * runs' are in memory at once, where the tenth of them would do.
 */
void rqs_sides_take(void *comparison, unsigned trace);
/*
 * After c->traces was loaded from c->file: names, and each side's result. The runs of a side are put in the order they
 * were recorded in, so that the order they were named in makes no difference.
 */
void rqs_sides_unite(struct rqs_comparison *c);
void rqs_comparison_free(struct rqs_comparison *c);

/* The rows that any side has requests for, by impact. Ends with -1; to be freed. */
int *rqs_comparison_rows(const struct rqs_comparison *c);
/* A route's cell, or that of all requests; NULL when the route has no requests there. */
#define RQS_WHOLE (-1) /* no route: all requests */
const struct rqs_cell *rqs_route_cell(const struct rqs_result *r, int route);

#endif
