/* cell.c - what is made of cells. */
#include "model/cell.h"

#include <string.h>

double rqs_cell_measured_requests(const struct rqs_cell *c)
{
	uint64_t known = c->metric[RQS_METRIC_ALLOC_BYTES].count;

	return (double)(known ? known : c->requests);
}

void rqs_cell_merge(struct rqs_cell *into, const struct rqs_cell *from)
{
	into->requests += from->requests;
	into->aborted += from->aborted;
	into->errors += from->errors;
	into->from_kernel += from->from_kernel;
	into->from_read += from->from_read;
	for (unsigned s = 0; s < RQS_STATUS_LIMIT; s++)
		into->status[s] += from->status[s];
	for (unsigned m = 0; m < RQS_METRIC_COUNT; m++)
		rqs_dist_merge(&into->metric[m], &from->metric[m]);
	rqs_breakdown_merge(&into->breakdown, &from->breakdown);
}

void rqs_cell_thin(struct rqs_cell *c)
{
	for (unsigned m = 0; m < RQS_METRIC_COUNT; m++)
		rqs_dist_thin(&c->metric[m]);
	rqs_breakdown_free(&c->breakdown);
}

void rqs_cell_free(struct rqs_cell *c)
{
	for (unsigned m = 0; m < RQS_METRIC_COUNT; m++)
		rqs_dist_free(&c->metric[m]);
	rqs_breakdown_free(&c->breakdown);
	rqs_slices_free(&c->slices);
	memset(c, 0, sizeof(*c));
}
