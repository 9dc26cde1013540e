/* findings.h - a comparison with all that was found out about it: what its renderings are made of. */
#ifndef REQSCOPE_FINDINGS_H
#define REQSCOPE_FINDINGS_H

#include "report/compared_sites.h"
#include "report/gates.h"
#include "report/rows.h"
#include "report/sides.h"

struct rqs_findings {
	const struct rqs_comparison *c;
	struct rqs_compare_options options;
	struct rqs_gates gates;
	struct rqs_rows rows;
	struct rqs_compared_sites sites; /* if the options ask for them */
};

/* Options and gates are set; c, whose sides are united, must outlive the findings. */
void rqs_findings_make(struct rqs_findings *f, const struct rqs_comparison *c);
/* As rqs_gates_status, or 2 when a trace is damaged, which outranks what the gates say. */
int rqs_findings_status(const struct rqs_findings *f);
void rqs_findings_free(struct rqs_findings *f); /* the contents, gates too */

#endif
