/* findings.h - a comparison with all that was found out about it: what its renderings are made of. */
#ifndef REQSCOPE_FINDINGS_H
#define REQSCOPE_FINDINGS_H

#include "report/gates.h"
#include "report/rows.h"
#include "report/sides.h"

struct rqs_findings {
	const struct rqs_comparison *c;
	struct rqs_compare_options options;
	struct rqs_rows rows;
	struct rqs_gates gates; /* evaluated */
};

#endif
