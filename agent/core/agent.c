/* agent.c - process, thread and chunk slots of the region; see agent.h. */
#include "core/agent.h"

#include "core/sample.h"

/* A table of goroutines for the process in that slot. */
static uint32_t claim_table(struct rqs_agent *agent, uint32_t process)
{
	uint64_t *owners = (uint64_t *)(void *)((char *)agent->region + agent->region->table_owners_offset);
	uint64_t owner = (uint64_t)(process + 1) << 32;

	if (!agent->wants_table || !agent->region->tables_offset)
		return 0;
	for (uint32_t i = 0; i < RQS_TABLES; i++)
		if (!rqs_load_relaxed(&owners[i]) && rqs_swap(&owners[i], 0, owner))
			return i + 1;
	return 0;
}

static bool claim_process(struct rqs_agent *agent)
{
	uint64_t generation = rqs_add(&agent->region->next_generation, 1) + 1;
	uint32_t pid = agent->env->pid();

	for (uint32_t i = 0; i < RQS_PROCESSES; i++) {
		struct rqs_process *process = &agent->processes[i];

		if (rqs_load_relaxed(&process->owner) || !rqs_swap(&process->owner, 0, generation << 32 | pid))
			continue;
		process->flags = agent->foreign_pids ? RQS_PROCESS_FOREIGN_PIDS : 0;
		process->parent = agent->env->parent_pid();
		process->runtime = agent->runtime;
		rqs_copy(process->version, agent->version, sizeof(process->version));
		agent->table = claim_table(agent, i);
		if (agent->wants_table && !agent->table)
			agent->measures = 0;
		process->measures = agent->measures;
		process->table = agent->table;
		process->start_ticks = rqs_now(agent);
		process->listeners = agent->listeners;
		process->connections = agent->open_connections;
		process->connections_peak = agent->open_connections;
		rqs_store(&process->ready, 1);
		agent->process_index = i;
		/* From here on other threads see the agent active: all else is set. */
		rqs_store(&agent->process, process);
		return true;
	}
	rqs_add(&agent->region->lost_processes, 1);
	return false;
}

bool rqs_agent_start(struct rqs_agent *agent, void *region, uint64_t size)
{
	struct rqs_region_header *header = region;
	char *base = region;

	if (size < sizeof(*header) || header->magic != RQS_REGION_MAGIC || header->version != RQS_REGION_VERSION ||
	    header->size_of_header != sizeof(*header) || size > header->region_size ||
	    size < header->chunks_offset + RQS_CHUNK_SIZE)
		return false;
	agent->chunk_count = (uint32_t)((size - header->chunks_offset) / RQS_CHUNK_SIZE);
	if (agent->chunk_count > RQS_CHUNKS)
		agent->chunk_count = RQS_CHUNKS;
	agent->region = header;
	agent->processes = (struct rqs_process *)(void *)(base + header->processes_offset);
	agent->threads = (struct rqs_thread *)(void *)(base + header->threads_offset);
	agent->owners = (uint64_t *)(void *)(base + header->owners_offset);
	agent->chunks = base + header->chunks_offset;
	if (!agent->meter)
		agent->meter = agent->runtime == RQS_RUNTIME_NATIVE ? &rqs_meter_thread : &rqs_meter_none;
	agent->epoch++;
	rqs_store(&agent->alive->epoch, agent->epoch);
	return claim_process(agent);
}

void rqs_agent_stop(struct rqs_agent *agent)
{
	rqs_store(&agent->off, true);
	/* Also for those that only ask whether they are set up. */
	rqs_store(&agent->alive->epoch, RQS_ALIVE_BUSY);
}

/* Request slots and numbers, as another recording or process has its own. */
static void forget_slots(struct rqs_agent *agent)
{
	agent->forks = 0;
	agent->samples = 0;
	agent->slot_hint = 0;
	agent->slot_chunks = 0;
	rqs_zero(agent->slot_chunk, sizeof(agent->slot_chunk));
}

void rqs_agent_renew(struct rqs_agent *agent)
{
	agent->meter = NULL;
	agent->connections_used = 0;
	agent->measures = 0;
	agent->listeners = 0;
	agent->open_connections = 0;
	agent->thread_hint = 0;
	forget_slots(agent);
}

bool rqs_agent_revive(struct rqs_agent *agent)
{
	uint64_t epoch = agent->epoch + 1;

	if (!rqs_swap(&agent->alive->epoch, 0, RQS_ALIVE_BUSY))
		return false; /* another thread is at it; this call goes unseen */
	if (agent->frozen) {
		/* Forked behind a filter: its pid can't be asked for. */
		rqs_add(&agent->region->lost_processes, 1);
		agent->off = true;
		return false;
	}
	/* In a new pid namespace the parent can't be seen, and our own pid means nothing outside. */
	if (agent->env->parent_pid() == 0)
		agent->foreign_pids = true;
	agent->epoch = epoch;
	forget_slots(agent);
	agent->process = NULL;
	/* The parent's table, mapped here too, is its own. */
	if (agent->wants_table)
		agent->measures = 0;
	agent->wants_table = false;
	bool claimed = claim_process(agent);
	rqs_store(&agent->alive->epoch, epoch);
	return claimed;
}

void rqs_agent_exec(struct rqs_agent *agent, bool begins)
{
	if (!agent->process)
		return;
	if (begins)
		__atomic_fetch_or(&agent->process->flags, RQS_PROCESS_EXECED, __ATOMIC_RELEASE);
	else
		__atomic_fetch_and(&agent->process->flags, ~RQS_PROCESS_EXECED, __ATOMIC_RELEASE);
}

void rqs_agent_forked(struct rqs_agent *agent)
{
	rqs_add(&agent->forks, 1);
}

static uint32_t claim_thread(struct rqs_agent *agent, uint32_t tid)
{
	uint64_t owner = (uint64_t)(agent->process_index + 1) << 32 | tid;
	uint32_t start = rqs_load_relaxed(&agent->thread_hint);

	for (uint32_t n = 0; n < RQS_THREADS; n++) {
		uint32_t i = (start + n) % RQS_THREADS;

		if (!rqs_load_relaxed(&agent->threads[i].owner) && rqs_swap(&agent->threads[i].owner, 0, owner)) {
			rqs_store_relaxed(&agent->thread_hint, i + 1);
			return i;
		}
	}
	rqs_count(agent, RQS_EVENT_THREAD_SLOTS);
	return RQS_THREADS;
}

void rqs_worker_start(struct rqs_agent *agent, struct rqs_worker *worker)
{
	bool event_loop = worker->event_loop;

	rqs_zero(worker, sizeof(*worker));
	worker->event_loop = event_loop;
	worker->current = RQS_NO_SLOT;
	worker->spare = RQS_NO_SLOT;
	worker->tid = agent->frozen || agent->threadless ? 0 : agent->env->tid(); /* 0: the collector can't tell when it ends */
	worker->thread = claim_thread(agent, worker->tid);
	worker->counters = worker->thread < RQS_THREADS ? &agent->threads[worker->thread] : &agent->fallback;
	worker->random = rqs_sample_seed(worker);
	rqs_sample_draw(agent, worker);
	if (agent->thread_starts)
		agent->thread_starts(worker);
	worker->epoch = agent->epoch;
}

/* Behind a collector that was killed, or doesn't get to run, records must not pile up in the host's memory. */
static uint32_t usable_chunks(const struct rqs_agent *agent)
{
	const struct rqs_region_header *region = agent->region;
	uint64_t heartbeat = rqs_load_relaxed(&region->heartbeat);
	uint32_t few = agent->chunk_count < RQS_SILENT_CHUNKS ? agent->chunk_count : RQS_SILENT_CHUNKS;

	if (heartbeat && rqs_now(agent) > heartbeat + RQS_SILENT_SECONDS * region->ticks_per_second)
		return few;
	return agent->chunk_count;
}

/* One of the first `usable` chunks; NULL: none is free, nor will be as long as `reclaimed` is what *starved_at says. */
static struct rqs_chunk_header *claim_among(struct rqs_agent *agent, const struct rqs_worker *worker,
					    enum rqs_chunk_kind kind, uint32_t *index, uint32_t usable,
					    uint64_t *starved_at)
{
	uint64_t owner = (uint64_t)(agent->process_index + 1) << 32 | worker->tid;
	uint64_t reclaimed = rqs_load(&agent->region->reclaimed) + 1;

	for (uint32_t i = 0; i < usable && *starved_at != reclaimed; i++) {
		if (rqs_load_relaxed(&agent->owners[i]) || !rqs_swap(&agent->owners[i], 0, owner))
			continue;
		struct rqs_chunk_header *chunk = rqs_chunk_of(agent, i);

		chunk->thread = worker->thread;
		chunk->head = 0;
		chunk->sealed = 0;
		chunk->bitmap = 0;
		rqs_store(&chunk->kind, (uint32_t)kind);
		*index = i;
		return chunk;
	}
	*starved_at = reclaimed;
	return NULL;
}

struct rqs_chunk_header *rqs_chunk_claim(struct rqs_agent *agent, struct rqs_worker *worker, enum rqs_chunk_kind kind,
					 uint32_t *index)
{
	/* Where none was free and none came back since, don't search again. */
	if (worker->starved_at == rqs_load(&agent->region->reclaimed) + 1)
		return NULL;
	struct rqs_chunk_header *chunk =
		claim_among(agent, worker, kind, index, usable_chunks(agent), &worker->starved_at);

	if (!chunk)
		rqs_count(agent, RQS_EVENT_CHUNK_STARVED);
	return chunk;
}

/* ---- records ---- */

static bool has_room(const struct rqs_worker *worker, size_t size)
{
	return worker->chunk && sizeof(*worker->chunk) + worker->chunk_used + size <= RQS_CHUNK_SIZE;
}

static void seal(struct rqs_worker *worker)
{
	rqs_store(&worker->chunk->sealed, 1);
	worker->chunk = NULL;
}

/*
 * So many threads keep a chunk between their records (the lowest free one is claimed). Further ones, which had none,
 * seal theirs with each record: with a thread a connection, those that wait would leave none to the others. That
 * costs them some microseconds a request, so most servers should have fewer.
 */
#define CHUNKS_KEPT_BY_THREADS (RQS_CHUNKS / RQS_STACKS_PART / 2)

static void *turn_to(struct rqs_worker *worker, struct rqs_chunk_header *chunk, uint32_t index)
{
	worker->shares = !worker->chunk && index >= CHUNKS_KEPT_BY_THREADS;
	if (worker->chunk)
		seal(worker);
	worker->chunk = chunk;
	worker->chunk_used = 0;
	return chunk ? chunk + 1 : NULL;
}

void *rqs_record_space(struct rqs_agent *agent, struct rqs_worker *worker, size_t size)
{
	uint32_t index = 0;

	if (has_room(worker, size))
		return (char *)(worker->chunk + 1) + worker->chunk_used;
	struct rqs_chunk_header *chunk = rqs_chunk_claim(agent, worker, RQS_CHUNK_RECORDS, &index);

	return turn_to(worker, chunk, index);
}

static uint32_t index_of(const struct rqs_agent *agent, const struct rqs_chunk_header *chunk)
{
	return (uint32_t)(((const char *)chunk - agent->chunks) / RQS_CHUNK_SIZE);
}

static void *space_among(struct rqs_agent *agent, struct rqs_worker *worker, size_t size, uint32_t usable,
			 uint64_t *starved_at)
{
	uint32_t index;

	if (has_room(worker, size) && index_of(agent, worker->chunk) < usable)
		return (char *)(worker->chunk + 1) + worker->chunk_used;
	struct rqs_chunk_header *chunk = claim_among(agent, worker, RQS_CHUNK_RECORDS, &index, usable, starved_at);

	/* What is left of the present one is for requests. */
	return chunk ? turn_to(worker, chunk, index) : NULL;
}

void *rqs_sample_space(struct rqs_agent *agent, struct rqs_worker *worker, size_t size)
{
	return space_among(agent, worker, size, usable_chunks(agent) / RQS_SAMPLES_PART, &worker->samples_starved_at);
}

void *rqs_stack_space(struct rqs_agent *agent, struct rqs_worker *worker, size_t size)
{
	return space_among(agent, worker, size, usable_chunks(agent) / RQS_STACKS_PART, &worker->stacks_starved_at);
}

/* The lowest free chunk is claimed: where the present one lies tells how many are in use. */
bool rqs_stack_space_is_scarce(const struct rqs_agent *agent, const struct rqs_worker *worker)
{
	return worker->chunk && index_of(agent, worker->chunk) >= agent->chunk_count / RQS_STACKS_PART / 2;
}

void rqs_record_commit(struct rqs_worker *worker, size_t size)
{
	worker->chunk_used += (uint32_t)size;
	rqs_store(&worker->chunk->head, worker->chunk_used);
	if (rqs_unlikely(worker->shares))
		seal(worker);
}
