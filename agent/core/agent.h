/*
 * agent.h - the agent inside one process: its state, and what the hooks tell it.
 *
 * Freestanding (core_deps.h). The hooks own the storage: one struct rqs_agent a
 * process, one struct rqs_worker a thread, and the connection table. The core
 * makes no system call but through rqs_env, holds no lock across a call of the
 * host's, and never waits: a lock that isn't had in time gives the connection
 * up, and says so.
 *
 * Fork. The connection table and the agent are private memory, so that a child
 * has its own copy; the region is shared. struct rqs_alive lies in a page that
 * fork wipes (MADV_WIPEONFORK), whatever way the fork was made: the first hook
 * of a child finds it 0 and calls rqs_agent_revive(). A vfork child shares all
 * memory and must not get here; the hooks see to that.
 */
#ifndef REQSCOPE_AGENT_H
#define REQSCOPE_AGENT_H

#include "core/connection.h"
#include "core/core_deps.h"
#include "core/meter.h"
#include "reqscope/region.h"

/* In a page of its own. 0: this process is a fork that hasn't been taken note of. */
struct rqs_alive {
	uint64_t epoch; /* else the agent's epoch; RQS_ALIVE_BUSY while one thread revives */
};
#define RQS_ALIVE_BUSY UINT64_MAX

/* A thread. Plain data: zero is its start, nothing happens at its end. */
struct rqs_worker {
	uint64_t epoch; /* the agent's epoch for which the rest is valid */
	struct rqs_thread *counters; /* in the region, or the process's shared fallback; NULL: none yet */
	uint32_t thread; /* index of counters, RQS_THREADS for the fallback */
	uint32_t tid;
	struct rqs_chunk_header *chunk; /* where records go, or NULL */
	uint32_t chunk_used;
	bool shares; /* the chunk is for one record: too many threads have one already */
	bool busy;       /* inside the core: a signal handler's call passes by */
	bool event_loop; /* has waited on several descriptors at once: it may serve many requests at a time */
	uint32_t spare; /* a request slot that it keeps for its next one, or RQS_NO_SLOT */
	uint32_t current; /* the request opened last, or RQS_NO_SLOT, and its ordinal */
	uint64_t current_ordinal;
	uint64_t starved_at; /* region's `reclaimed` when no chunk was free, + 1 */
	uint64_t stacks_starved_at; /* when none was for stacks */
	uint64_t samples_starved_at; /* when none was for samples without */
	uint64_t sample_at; /* of counters->alloc_bytes: an allocation that gets there is a sample; or RQS_SAMPLE_NEVER */
	uint64_t random;    /* for the distance to the next one */
};
#define RQS_SAMPLE_NEVER UINT64_MAX

#define RQS_SAMPLES_UNTOLD 256u

struct rqs_agent {
	const struct rqs_env *env;
	const struct rqs_meter *meter; /* set before the start, else by the runtime: threads' for native ones, or none */
	struct rqs_region_header *region;
	struct rqs_process *processes;
	struct rqs_thread *threads;
	uint64_t *owners;
	char *chunks;
	uint32_t chunk_count; /* as many as are mapped here */
	struct rqs_conn *connections; /* by descriptor; sparse */
	uint32_t connection_limit;
	uint32_t connections_used; /* entries from here on were never more than glanced at */
	struct rqs_alive *alive;
	uint64_t epoch; /* counts the starts and the forks in this line of processes, from 1 */

	struct rqs_process *process;
	uint32_t process_index;
	uint32_t runtime;
	bool foreign_pids;
	bool off;      /* switched off, for good but in a process that is attached to: calls pass unseen */
	bool frozen;   /* no system calls of ours: the process has restricted its own */
	bool stamping; /* arrival times may be asked for */
	bool attached; /* set before the start: the process ran before, and may have connections open */
	uint32_t measures;      /* RQS_MEASURES_*; Go only */
	bool threadless;        /* workers aren't threads: their ends can't be told */
	bool wants_table;       /* of goroutines, claimed with the process slot */
	uint32_t table;         /* its index + 1, 0 none */
	char version[32];       /* of the runtime */
	void (*thread_starts)(struct rqs_worker *worker); /* its first call, of this epoch; NULL: of no interest */
	int64_t listeners;      /* of this process, forks' inheritance included */
	int64_t open_connections;
	uint64_t forks; /* made by this process */
	uint64_t samples; /* taken in this process: the number of the last one */
	uint64_t untold[RQS_SAMPLES_UNTOLD]; /* ends of samples that are still to be told, 0 none (sample.c) */
	bool has_untold;
	uint32_t thread_hint;
	uint32_t slot_hint;
	uint32_t slot_chunks; /* entries of slot_chunk; the last may not be set yet */
	uint32_t slot_chunk[RQS_CHUNKS]; /* chunk index + 1 */
	struct rqs_thread fallback; /* counters of threads that found no slot; never read */
};

/* What the hooks know of one call. */
struct rqs_call {
	struct rqs_agent *agent;
	struct rqs_worker *worker;
	int fd;            /* reads and writes: the descriptor */
	uint64_t task;     /* which of the runtime's tasks makes it; Go: its goroutine's address */
	uint64_t ticks;    /* reads: after it returned; writes: when its bytes were accepted */
	uint64_t queue_ns; /* reads: kernel arrival -> ticks */
	bool has_queue;
	/* Reads, in ns of the clock that arrivals are stamped by; 0: not known. */
	uint64_t arrived_ns;
	uint64_t returned_ns;
};

/* A longer wait is a step of the clock. */
#define RQS_WAIT_MAX_NS (3600ull * 1000000000u)

/* From arrival to read; false: that can't be true. */
static inline bool rqs_wait_between(uint64_t arrived_ns, uint64_t returned_ns, uint64_t *ns)
{
	bool possible = returned_ns >= arrived_ns && returned_ns - arrived_ns < RQS_WAIT_MAX_NS;

	*ns = possible ? returned_ns - arrived_ns : 0;
	return possible;
}

/*
 * Takes the mapped region into use, or its first `size` bytes: finds the arrays, claims a process slot.
 * False: the region is unusable or full; the agent stays off. The caller has
 * set env, connections, alive, runtime, version, foreign_pids.
 */
bool rqs_agent_start(struct rqs_agent *agent, void *region, uint64_t size);

/*
 * Switches off an agent that is started again later, and makes it ready for
 * that: when no thread is in it any more. What it points to stays there.
 */
void rqs_agent_stop(struct rqs_agent *agent);
void rqs_agent_renew(struct rqs_agent *agent);

/* The first thing in a forked child. False: the agent is off in it. */
bool rqs_agent_revive(struct rqs_agent *agent);

/* The process is about to be replaced by exec (undone when that fails), or forks. */
void rqs_agent_exec(struct rqs_agent *agent, bool begins);
void rqs_agent_forked(struct rqs_agent *agent);

/* Ends responses that last until their connection's end, as the process exits. */
void rqs_agent_exit(struct rqs_agent *agent, struct rqs_worker *worker);

static inline bool rqs_agent_on(const struct rqs_agent *agent)
{
	return rqs_load(&agent->process) && !rqs_load_relaxed(&agent->off) &&
	       rqs_load_relaxed(&agent->region->state) == RQS_RECORDING;
}

static inline uint64_t rqs_now(const struct rqs_agent *agent)
{
	return rqs_likely(agent->region->clock == RQS_CLOCK_TSC) ? rqs_tsc() : agent->env->monotonic();
}

static inline void rqs_count(struct rqs_agent *agent, enum rqs_event event)
{
	rqs_add(&agent->process->events[event], 1);
}

/* Gives the thread counters of its own. Called when worker->epoch isn't the agent's. */
void rqs_worker_start(struct rqs_agent *agent, struct rqs_worker *worker);

/* Makes the agent and the thread's data this process's, which a fork may have begun. False: another thread is at it. */
static inline bool rqs_worker_enter(struct rqs_agent *agent, struct rqs_worker *worker)
{
	uint64_t epoch = rqs_load_relaxed(&agent->alive->epoch);

	if (rqs_unlikely(epoch == 0)) {
		if (!rqs_agent_revive(agent))
			return false;
		epoch = agent->epoch;
	}
	if (rqs_unlikely(epoch == RQS_ALIVE_BUSY))
		return false;
	if (rqs_unlikely(worker->epoch != epoch))
		rqs_worker_start(agent, worker);
	return true;
}

/* A call of which nothing is known yet. */
static inline void rqs_call_begin(struct rqs_call *call, struct rqs_agent *agent, struct rqs_worker *worker,
				  uint64_t task)
{
	call->agent = agent;
	call->worker = worker;
	call->task = task;
	call->queue_ns = 0;
	call->has_queue = false;
	call->arrived_ns = 0;
	call->returned_ns = 0;
}

/* Is this thread set up, in this very process? The hot path of the allocation hooks. */
static inline bool rqs_worker_ready(const struct rqs_agent *agent, const struct rqs_worker *worker)
{
	return rqs_likely(worker->epoch && agent->alive && worker->epoch == rqs_load_relaxed(&agent->alive->epoch));
}

/* One allocator call for `bytes` requested bytes. Is it to be a sample (sample.h)? */
static inline bool rqs_worker_allocated(struct rqs_worker *worker, uint64_t bytes)
{
	struct rqs_thread *counters = worker->counters;
	uint64_t allocated = counters->alloc_bytes + bytes;

	rqs_store_relaxed(&counters->alloc_count, counters->alloc_count + 1);
	rqs_store_relaxed(&counters->alloc_bytes, allocated);
	return rqs_unlikely(allocated >= worker->sample_at);
}

/* Claims a chunk for this thread or process; NULL and counted when none is free. */
struct rqs_chunk_header *rqs_chunk_claim(struct rqs_agent *agent, struct rqs_worker *worker, enum rqs_chunk_kind kind,
					 uint32_t *index);

/*
 * Samples, and what belongs to them, use no chunk beyond that part of all: requests must find theirs. Those with a
 * stack use fewer: where these are full there is room for a hundred times as many without.
 */
#define RQS_SAMPLES_PART 4u
#define RQS_STACKS_PART 8u

/* Space for a record of that size in the worker's chunk, or NULL; rqs_record_commit() makes it the collector's. */
void *rqs_record_space(struct rqs_agent *agent, struct rqs_worker *worker, size_t size);
void *rqs_sample_space(struct rqs_agent *agent, struct rqs_worker *worker, size_t size);
void *rqs_stack_space(struct rqs_agent *agent, struct rqs_worker *worker, size_t size);

/* Is more than half of the room for stacks in use? */
bool rqs_stack_space_is_scarce(const struct rqs_agent *agent, const struct rqs_worker *worker);
void rqs_record_commit(struct rqs_worker *worker, size_t size);

static inline struct rqs_chunk_header *rqs_chunk_of(const struct rqs_agent *agent, uint32_t index)
{
	return (struct rqs_chunk_header *)(void *)(agent->chunks + (size_t)index * RQS_CHUNK_SIZE);
}

#endif
