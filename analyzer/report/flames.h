/*
 * flames.h - which flame graphs there are: of all requests, and of those
 * routes that allocate most, so that a page stays small.
 */
#ifndef REQSCOPE_FLAMES_H
#define REQSCOPE_FLAMES_H

#include "render/doc.h"
#include "report/findings.h"

#define RQS_FLAME_ROUTES 3 /* that have one of their own */
#define RQS_FLAME_BARS 480 /* of a page, about */

/* Of one trace's result. `traces`: how many share the page. */
void rqs_doc_add_flames(struct rqs_doc *d, const struct rqs_result *r, const struct rqs_routes *routes,
			unsigned traces);
/* Of a side against the base. */
void rqs_doc_add_flame_differences(struct rqs_doc *d, const struct rqs_findings *f, unsigned side);

#endif
