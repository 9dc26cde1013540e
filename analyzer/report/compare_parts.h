/*
 * compare_parts.h - the parts of a comparison's document, in files of their
 * own, and the list of them. One more is one more file and one line.
 */
#ifndef REQSCOPE_COMPARE_PARTS_H
#define REQSCOPE_COMPARE_PARTS_H

#include "render/doc.h"
#include "report/findings.h"

#define RQS_SIDES_AS_COLUMNS 3 /* at most; more become a table's rows, so that it stays readable */

/*
 * X(part), in their order; what has nothing to say adds nothing:
 *
 *    glance           sides by the figures that people publish, and by those that they don't; as values and as
 *                     multiples of the base
 *    gates            gates and whether they hold
 *    figures          each figure of the whole, the differences with their intervals and verdicts
 *    attribution      where the mean latency and that of the slowest goes, and what its difference consists of
 *    compared_routes  the figures of each route
 *    compared_sites   where memory comes from, if that was asked for
 *    compared_charts  distributions, parts and the course of the runs
 */
#define RQS_COMPARE_PARTS(X)                                                                                           \
	X(glance) X(gates) X(figures) X(attribution) X(compared_routes) X(compared_sites) X(compared_charts)

#define RQS_DECLARE_PART(part) void rqs_doc_add_##part(struct rqs_doc *d, const struct rqs_findings *f);
RQS_COMPARE_PARTS(RQS_DECLARE_PART)
#undef RQS_DECLARE_PART

/* Whether sides are compared by it: it is known of any, or of all when the others' runtimes may have no such thing. */
bool rqs_is_compared(const struct rqs_findings *f, enum rqs_figure figure);
/* What a verdict is coloured as; without one, what the difference itself looks like. */
enum rqs_tone rqs_tone_of_difference(enum rqs_figure figure, const struct rqs_row *row, unsigned side);
/* "regressed", "regressed?" when it is of one run a side; to be freed. */
char *rqs_verdict_text(const struct rqs_difference *d);

#endif
