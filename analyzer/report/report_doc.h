/* report_doc.h - `reqscope report` as a document for people. */
#ifndef REQSCOPE_REPORT_DOC_H
#define REQSCOPE_REPORT_DOC_H

#include "model/trace.h"
#include "render/doc.h"

#define RQS_ROUTES_SHOWN 40 /* JSON has all of them */

/* Traces that could not be read are left out. `sites`: call sites shown of each route; 0: none is spoken of. */
struct rqs_doc *rqs_report_doc(const struct rqs_traces *traces, unsigned sites);
/* "truncated", "damaged", "dropped" and the like, as warnings. `name` goes in front when not NULL. */
void rqs_doc_add_warnings(struct rqs_doc *d, const struct rqs_result *r, const char *name);
/* What the trace calls itself: its label, or else the file's name without folder and ending. To be freed. */
char *rqs_trace_name(const struct rqs_trace *t);
/* "GET /users/{}"; "(unmatched)". To be freed. */
char *rqs_route_text(const struct rqs_routes *routes, unsigned row);
/* A value of a metric in its unit, to be freed. */
char *rqs_metric_text(enum rqs_unit unit, double v);

#endif
