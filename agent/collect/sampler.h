/*
 * sampler.h - what /proc tells of the processes of a session: memory, CPU,
 * threads, descriptors.
 */
#ifndef COLLECT_SAMPLER_H
#define COLLECT_SAMPLER_H

#include "collect/batch.h"
#include "collect/process.h"

struct rqs_sampler {
	uint64_t next_ns;      /* the next round is due */
	uint64_t next_slow_ns; /* and the next that takes the dear figures, too */
};

/*
 * When a round is due: a row for each live noted process. `full` is called
 * when the batch is, and must clear it.
 */
void rqs_sample(struct rqs_sampler *sampler, struct rqs_processes *processes, struct rqs_batch *samples,
		uint64_t now_ns, void (*full)(void *context), void *context);

#endif
