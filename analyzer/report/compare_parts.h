/* compare_parts.h - the parts of a comparison's document, in files of their own. */
#ifndef REQSCOPE_COMPARE_PARTS_H
#define REQSCOPE_COMPARE_PARTS_H

#include "render/doc.h"
#include "report/findings.h"

#define RQS_SIDES_AS_COLUMNS 3 /* at most; more become a table's rows, so that it stays readable */

/* Sides by the figures that people publish, and by those that they don't; as values and as multiples of the base. */
void rqs_doc_add_glance(struct rqs_doc *d, const struct rqs_findings *f);
/* Each figure of the whole, the differences with their intervals and verdicts. */
void rqs_doc_add_figures(struct rqs_doc *d, const struct rqs_findings *f);
/* Gates and whether they hold. */
void rqs_doc_add_gates(struct rqs_doc *d, const struct rqs_findings *f);
/* Where the mean latency and that of the slowest goes, and what its difference consists of. */
void rqs_doc_add_attribution(struct rqs_doc *d, const struct rqs_findings *f);
void rqs_doc_add_compared_routes(struct rqs_doc *d, const struct rqs_findings *f);
/* Where memory comes from, if that was asked for. */
void rqs_doc_add_compared_sites(struct rqs_doc *d, const struct rqs_findings *f);

/* Whether sides are compared by it: it is known of any, or of all when the others' runtimes may have no such thing. */
bool rqs_is_compared(const struct rqs_findings *f, enum rqs_figure figure);
/* What a verdict is coloured as; without one, what the difference itself looks like. */
enum rqs_tone rqs_tone_of_difference(enum rqs_figure figure, const struct rqs_row *row, unsigned side);
/* "regressed", "regressed?" when it is of one run a side; to be freed. */
char *rqs_verdict_text(const struct rqs_difference *d);

#endif
