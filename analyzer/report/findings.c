/* findings.c - first the rows, then the gates, which judge some of them. */
#include "report/findings.h"

void rqs_findings_make(struct rqs_findings *f, const struct rqs_comparison *c)
{
	f->c = c;
	f->rows = rqs_rows_make(c, &f->options);
	if (f->options.sites)
		f->sites = rqs_compare_sites(c, f->options.threshold, f->options.strict);
	rqs_gates_evaluate(&f->gates, c, &f->rows, &f->options);
}

int rqs_findings_status(const struct rqs_findings *f)
{
	for (unsigned i = 0; i < f->c->sides; i++)
		if (f->c->side[i].result.damaged)
			return 2;
	return rqs_gates_status(&f->gates, &f->options);
}

void rqs_findings_free(struct rqs_findings *f)
{
	rqs_rows_free(&f->rows);
	rqs_compared_sites_free(&f->sites);
	rqs_gates_free(&f->gates);
}
