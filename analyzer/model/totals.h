/* totals.h - the totals or end frame's JSON, turned into a result's fields. */
#ifndef REQSCOPE_TOTALS_H
#define REQSCOPE_TOTALS_H

#include "model/trace.h"

/* Reads t->totals into t->result; without totals fills in what can be known and notes the rest. */
void rqs_totals_apply(struct rqs_trace *t);
/* The same for t->result.sites. */
void rqs_totals_apply_sites(struct rqs_trace *t);

#endif
