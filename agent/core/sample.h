/*
 * sample.h - sampled allocations in the target: when one is due, and its
 * record. Freestanding; rules of context: agent.h. All but the distance needs
 * the worker to be entered (rqs_enter()), so that a signal handler's call, or
 * one from inside of the agent, is never a sample; it is counted as lost.
 *
 * Nothing here unwinds, takes a lock or asks the loader: it copies.
 */
#ifndef REQSCOPE_SAMPLE_H
#define REQSCOPE_SAMPLE_H

#include "core/agent.h"

/*
 * Bytes from any point to the next one: exponential of mean `mean`, at least
 * 1. *random is a thread's own state, never 0.
 */
uint64_t rqs_sample_distance(uint64_t *random, uint64_t mean);

/* Something for *random that differs between threads and runs. */
uint64_t rqs_sample_seed(const struct rqs_worker *worker);

/*
 * Bytes from here to the worker's next point, RQS_SAMPLE_NEVER where no
 * samples are taken of its allocations. Draws anew each time; need not be
 * entered.
 */
uint64_t rqs_sample_next(const struct rqs_agent *agent, struct rqs_worker *worker);

/* Sets worker->sample_at by that, from what its counters say now. */
void rqs_sample_draw(const struct rqs_agent *agent, struct rqs_worker *worker);

/* What is known of a sampled allocation. */
struct rqs_sample_facts {
	enum rqs_sample_kind kind;
	uint64_t bytes;
	const void *memory; /* to be followed; NULL: it isn't */
	uint32_t slot;      /* the open request's, or RQS_SAMPLE_NO_SLOT */
	uint64_t ordinal;
	bool after;         /* for a request that has ended */
	bool more_frames;
	uint16_t frame_count;
	struct rqs_sample_frame *frames; /* room for RQS_SAMPLE_FRAMES, for those who have any */
	const uint64_t *registers; /* RQS_SAMPLE_REGISTERS */
	uint64_t stack_end; /* where the stack ends, above RSP; 0: to be found out, page by page */
};

/*
 * Commits a sample to the worker's records. Its number, or 0 where there was
 * no room (counted as RQS_EVENT_SAMPLE_LOST).
 */
uint64_t rqs_sample_commit(struct rqs_agent *agent, struct rqs_worker *worker, const struct rqs_sample_facts *facts);

/*
 * Is a sample of `from` bytes, which turn out to be `to`, fewer, one of these? Such a one has a point in them; what it
 * was drawn by isn't known any more, so it is drawn again, where a point lies in a block that has one.
 */
bool rqs_sample_stays(const struct rqs_agent *agent, struct rqs_worker *worker, uint64_t from, uint64_t to);

/*
 * The sample that was followed as that (what rqs_followed_take() says) has
 * ended, or is withdrawn: a receive buffer, or cut. Later: for those who can't enter, and where
 * there is no room for a record. It is told by the next sample or end, or as
 * the next request ends, and counted as RQS_EVENT_SAMPLE_UNFOLLOWED until then.
 */
void rqs_sample_ended(struct rqs_agent *agent, struct rqs_worker *worker, uint64_t followed, bool withdrawn);
void rqs_sample_ended_later(struct rqs_agent *agent, uint64_t followed, bool withdrawn);

/* Tells the ends that are still to be told, as far as there is room. */
void rqs_sample_tell_ends(struct rqs_agent *agent, struct rqs_worker *worker);

static inline void rqs_sample_tell_untold(struct rqs_agent *agent, struct rqs_worker *worker)
{
	if (rqs_unlikely(rqs_load_relaxed(&agent->has_untold)))
		rqs_sample_tell_ends(agent, worker);
}

#endif
