/*
 * report_parts.h - the parts of what is reported of a trace, and the list of
 * them. One more is one more file and one line.
 */
#ifndef REQSCOPE_REPORT_PARTS_H
#define REQSCOPE_REPORT_PARTS_H

#include "model/trace.h"
#include "render/doc.h"

struct rqs_reported {
	const struct rqs_traces *traces;
	const struct rqs_trace *trace;
	const char *name;
	unsigned sites; /* shown of each route; 0: none is spoken of */
};

/*
 * X(part), in their order; what has nothing to say adds nothing:
 *
 *    facts       what ran, how it did, what it took
 *    routes      the figures of each route
 *    call_sites  where memory comes from, if that was asked for
 *    charts      distributions, parts and the course of the run
 *    notes       what wasn't measured, and why
 */
#define RQS_REPORT_PARTS(X) X(facts) X(routes) X(call_sites) X(charts) X(notes)

#define RQS_DECLARE_PART(part) void rqs_report_add_##part(struct rqs_doc *d, const struct rqs_reported *what);
RQS_REPORT_PARTS(RQS_DECLARE_PART)
#undef RQS_DECLARE_PART

#endif
