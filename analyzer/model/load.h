/* load.h - what the two passes over a trace share; private to them. */
#ifndef REQSCOPE_LOAD_H
#define REQSCOPE_LOAD_H

#include "model/trace.h"
#include "model/site_load.h"
#include "model/usage.h"

struct rqs_load {
	struct rqs_traces *traces;
	const struct rqs_load_options *options;
	struct rqs_trace *trace; /* the one being read */
	unsigned index;          /* of it */
	unsigned passes_done;

	/* The requests frame being read: its route table. */
	uint32_t routes;
	struct rqs_cell **cell; /* by the frame's route index */
	unsigned *row;          /* the same: the route's row, also when its values go elsewhere */
	uint8_t *found;         /* survey: something else than 404 was seen */
	struct rqs_columns table;

	/* The second pass. */
	uint64_t from, to; /* the window, ns on the trace's clock */
	uint64_t first, last;
	struct rqs_usage usage;
	struct rqs_site_load *sites; /* NULL: they aren't asked for */
	unsigned *site_row;          /* rows of the routes, by the route index of the sites frame being read */
	bool folded;
	uint64_t latency[RQS_BLOCK_ROWS], arrival[RQS_BLOCK_ROWS];

	/* A block's rows inside the window, those of one route and slice next to each other. */
	unsigned groups;
	struct row_group {
		uint32_t route; /* of the frame */
		unsigned slice;
		uint32_t rows;
		uint32_t first; /* in order[] */
	} group[RQS_BLOCK_ROWS];
	uint16_t order[RQS_BLOCK_ROWS];
	uint16_t *group_of; /* by the frame's route index and slice; NO_GROUP between blocks */
};

void rqs_load_progress(void *context, uint64_t done, uint64_t size);
/* The second pass over l->trace: fills in its result. */
void rqs_load_add_up(struct rqs_load *l, struct rqs_reader *reader);

#endif
