/* inspect.h - what a trace file consists of and whether it is whole, for `reqscope info`. */
#ifndef REQSCOPE_INSPECT_H
#define REQSCOPE_INSPECT_H

#include "model/trace.h"
#include "render/doc.h"

#define RQS_DAMAGES_LISTED 100

struct rqs_frame_sum {
	uint64_t frames, stored, raw; /* stored and raw in bytes, headers not included */
};

struct rqs_inspection {
	const char *file;
	char *fatal; /* why nothing could be read, or NULL */
	uint64_t size;
	struct rqs_scan scan;
	struct rqs_frame_sum type[256];
	uint64_t requests, samples;     /* rows */
	uint64_t sites, stacks;         /* rows, and stacks that they may name */
	uint64_t first_time, last_time; /* of requests, samples and sites, ns */
	unsigned damages;               /* listed */
	struct rqs_damage damage[RQS_DAMAGES_LISTED];
	cJSON *run, *totals, *processes; /* run and totals: or NULL */
};

void rqs_inspect(struct rqs_inspection *i, const char *file);
void rqs_inspection_free(struct rqs_inspection *i);
struct rqs_doc *rqs_inspection_doc(const struct rqs_inspection *i);
/* {"schema":"reqscope.info/1", ...} */
cJSON *rqs_inspection_json(const struct rqs_inspection *i);

#endif
