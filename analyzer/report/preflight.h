/* preflight.h - reasons why sides may not be like for like, told before any figure. */
#ifndef REQSCOPE_PREFLIGHT_H
#define REQSCOPE_PREFLIGHT_H

#include "report/sides.h"

/* Calls tell for each finding, with its id for JSON and a sentence. */
void rqs_preflight(const struct rqs_comparison *c, void (*tell)(void *context, const char *id, const char *text),
		   void *context);

/* Whether a side's load was the base's, as far as it is known: the arrival rates or the peaks of connections agree. */
bool rqs_load_matches(const struct rqs_comparison *c, unsigned side);
/* Whether each route has the share of requests that it has of the base, within 2 points. */
bool rqs_mix_matches(const struct rqs_comparison *c, unsigned side);

#endif
