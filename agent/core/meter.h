/*
 * meter.h - how a request's costs (allocations, CPU) are measured: each kind
 * of runtime has its own idea of whose they are. Rules of context: agent.h;
 * all functions but `sampled` run under the connection's lock.
 *
 * A request is *served* from its first byte on; one that arrived behind
 * another on its connection, when that has ended.
 */
#ifndef REQSCOPE_METER_H
#define REQSCOPE_METER_H

#include "core/core_deps.h"
#include "reqscope/region.h"

struct rqs_call;
struct rqs_sample_facts;

struct rqs_meter {
	/* The calling task begins to serve the request in that slot. */
	void (*begin)(const struct rqs_call *call, uint32_t slot);
	/* The calling task has read more of its start line; NULL: of no interest. */
	void (*read_on)(const struct rqs_call *call, uint32_t slot);
	/* The calling task has sent a part of its response; NULL: of no interest. */
	void (*answered)(const struct rqs_call *call, uint32_t slot);
	/*
	 * It has ended. Sets the record's costs, zero so far, and the flags that
	 * say which of them are measured; record is NULL where it isn't recorded.
	 */
	void (*end)(const struct rqs_call *call, uint32_t slot, struct rqs_record *record);
	/*
	 * The calling task has made an allocation that is a sample: sets whose it
	 * is (slot, ordinal, after), and the runtime's own frames. Without any
	 * lock. NULL: nobody's can be told.
	 */
	void (*sampled)(const struct rqs_call *call, struct rqs_sample_facts *facts);
};

/* A request is its thread's: as long as the thread has but one, and is the only one to serve it. */
extern const struct rqs_meter rqs_meter_thread;
/* Nothing is measured: many requests a thread at a time, and an allocator that isn't seen. */
extern const struct rqs_meter rqs_meter_none;

#endif
