/* go_start.c - takes the session's region into use in a Go program; see setup.h. */
#include "go/go.h"

#include "os/adopt.h"
#include "os/host.h"
#include "os/join.h"
#include "os/reserve.h"
#include "os/stamps.h"
#include "os/sys.h"
#include "os/trial.h"

#include <errno.h>
#include <sys/mman.h>

#define SAME(structure, field, offset) _Static_assert(offsetof(struct structure, field) == (offset), "layout.h")
SAME(rqs_go, goroutines, GO_GOROUTINES);
SAME(rqs_go, goroutine_mask, GO_GOROUTINE_MASK);
SAME(rqs_go, goroutines_end, GO_GOROUTINES_END);
SAME(rqs_go, table, GO_TABLE);
SAME(rqs_go, contexts, GO_CONTEXTS);
SAME(rqs_go, connections, GO_CONNECTIONS);
SAME(rqs_go, connection_limit, GO_CONNECTION_LIMIT);
SAME(rqs_go, curg, GO_CURG);
SAME(rqs_go, sched, GO_SCHED);
SAME(rqs_go, contended, GO_CONTENDED);
SAME(rqs_go, sample, GO_SAMPLE);
SAME(rqs_go, samples_lost, GO_SAMPLES_LOST);
SAME(rqs_goroutine, g, G_KEY);
SAME(rqs_goroutine, alloc_bytes, G_ALLOC_BYTES);
SAME(rqs_goroutine, alloc_count, G_ALLOC_COUNT);
SAME(rqs_goroutine, owner, G_OWNER);
SAME(rqs_goroutine, owner_generation, G_OWNER_GENERATION);
SAME(rqs_goroutine, serving, G_SERVING);
SAME(rqs_goroutine, serving_generation, G_SERVING_GENERATION);
SAME(rqs_goroutine, sample, G_SAMPLE);
SAME(rqs_goroutine, coroutine, G_COROUTINE);
SAME(rqs_goroutine, since, G_SINCE);
SAME(rqs_goroutine, waiting, G_TIMES + 8 * TIME_WAITING);
SAME(rqs_goroutine, runnable, G_TIMES + 8 * TIME_RUNNABLE);
SAME(rqs_goroutine, running, G_TIMES + 8 * TIME_RUNNING);
SAME(rqs_goroutine, last_running, G_LAST + 8 * TIME_RUNNING);
SAME(rqs_table, lost_bytes, TABLE_LOST_BYTES);
SAME(rqs_table, lost_count, TABLE_LOST_COUNT);
SAME(rqs_go_meter, generation, METER_CHILDREN);
SAME(rqs_go_meter, cpu_generation, METER_CPU);
SAME(rqs_go_meter, away, METER_AWAY);
SAME(rqs_go_meter, away_runnable, METER_AWAY_RUNNABLE);
SAME(rqs_go_meter, born, METER_BORN);
SAME(rqs_go_context, taken, CONTEXT_TAKEN);
SAME(rqs_go_context, sp, CONTEXT_SP);
SAME(rqs_conn, kind, CONN_KIND);
SAME(rqs_conn, stamped, CONN_STAMPED);
SAME(rqs_conn, awaits_stamp, CONN_AWAITS_STAMP);
_Static_assert(sizeof(struct rqs_conn) == CONN_SIZE, "layout.h");
_Static_assert(sizeof(struct rqs_goroutine) == G_SIZE, "layout.h");
_Static_assert(RQS_CONN_SERVED == KIND_SERVED && RQS_CONN_OTHER == KIND_OTHER, "layout.h");
_Static_assert(KINDS_THAT_MATTER ==
		       (1 << RQS_CONN_UNKNOWN | 1 << RQS_CONN_SERVED | 1 << RQS_CONN_ALIAS | 1 << RQS_CONN_RESYNC |
			1 << RQS_CONN_PASSED),
	       "layout.h");
_Static_assert(sizeof(union rqs_stamp_control) == MESSAGE_CONTROL_SIZE, "layout.h");
_Static_assert(sizeof(struct msghdr) == MESSAGE_IOV && sizeof(struct iovec) == MESSAGE_CONTROL - MESSAGE_IOV, "layout.h");

/* Before the start: nobody's entry, so that every search fails. */
static struct rqs_goroutine nobody = { .g = 1 };
static uint64_t nobodys_samples;
struct rqs_go rqs_go = {
	.goroutines = (uint64_t)&nobody,
	.goroutines_end = (uint64_t)(&nobody + 1),
	.samples_lost = &nobodys_samples,
};

#define METERS (RQS_CHUNKS * 64u) /* one a request slot */

static bool map_own_memory(void)
{
	rqs_go.contexts = rqs_reserve_sparse((size_t)CONTEXT_SIZE * CONTEXT_COUNT);
	rqs_go.meters = rqs_reserve_sparse(sizeof(struct rqs_go_meter) * METERS);
	return rqs_go.contexts && rqs_go.meters;
}

static void unmap_own_memory(void)
{
	if (rqs_go.contexts)
		rqs_unreserve(rqs_go.contexts, (size_t)CONTEXT_SIZE * CONTEXT_COUNT);
	if (rqs_go.meters)
		rqs_unreserve(rqs_go.meters, sizeof(struct rqs_go_meter) * METERS);
	rqs_go.contexts = NULL;
	rqs_go.meters = NULL;
}

/* The process's table of goroutines, or as much of it as the host's limits leave. */
static void map_table(struct rqs_agent *agent, int region)
{
	uint64_t entries = RQS_TABLE_ENTRIES;

	if (!agent->table)
		return;
	while (entries > 1024 && rqs_reserve_share(entries * sizeof(struct rqs_goroutine)) < entries * sizeof(struct rqs_goroutine))
		entries /= 2;
	size_t size = offsetof(struct rqs_table, goroutines) + entries * sizeof(struct rqs_goroutine);
	uint64_t offset = agent->region->tables_offset + (agent->table - 1) * agent->region->table_size;
	struct rqs_table *table = rqs_reserve_at(size, region, offset);
	if (!table)
		return;
	rqs_go.goroutine_mask = (entries - 1) * sizeof(struct rqs_goroutine);
	rqs_go.goroutines_end = (uint64_t)(table->goroutines + entries);
	rqs_go.goroutines = (uint64_t)table->goroutines;
	rqs_go.table = table;
}

bool rqs_go_await(struct rqs_agent *agent, void (*activate)(void))
{
	if (!map_own_memory()) {
		unmap_own_memory();
		return false;
	}
	rqs_go.agent = agent;
	rqs_go.activate = activate;
	return true;
}

void rqs_go_prepare(struct rqs_agent *agent, const struct rqs_go_setup *setup)
{
	agent->runtime = RQS_RUNTIME_GO;
	rqs_copy(agent->version, setup->version, sizeof(agent->version));
	agent->meter = &rqs_meter_go;
	agent->threadless = true;
	agent->wants_table = true;
	agent->measures = setup->measures;
	if (setup->no_sched)
		agent->measures &= ~RQS_MEASURES_SCHED;
}

void rqs_go_adopt(struct rqs_agent *agent, const struct rqs_go_setup *setup, int region)
{
	/* Before there are entries that are to have it. */
	rqs_go.sample = agent->region->sample_bytes ? (uint64_t)G_SAMPLE_UNDRAWN : 0;
	rqs_go.samples_lost = &agent->process->events[RQS_EVENT_SAMPLE_LOST];
	map_table(agent, region);
	if (!rqs_go.table || agent->region->clock != RQS_CLOCK_TSC)
		agent->measures &= ~RQS_MEASURES_SCHED;
	if (!rqs_go.table)
		agent->measures = 0;
	rqs_store_relaxed(&agent->process->measures, agent->measures);
	rqs_go.curg = setup->curg_offset;
	rqs_go.sched = (agent->measures & RQS_MEASURES_SCHED) != 0;
	rqs_go.connections = agent->connections;
	rqs_store(&rqs_go.connection_limit, (uint64_t)agent->connection_limit);
}

/* ---- in a program without a libc ---- */

static struct rqs_agent agent_;

static int clock_by_system_call(clockid_t clock, struct timespec *now)
{
	return (int)rqs_sys2(SYS_clock_gettime, clock, now);
}

/* One that is attached to asks for the region itself. */
static bool join(struct rqs_go_setup *setup)
{
	struct rqs_welcome welcome;

	if (setup->region >= 0)
		return true;
	setup->region = rqs_join(setup->token, &welcome);
	if (setup->region < 0) {
		setup->error = setup->region;
		return false;
	}
	setup->region_size = welcome.region_size;
	setup->foreign_pids = welcome.foreign_pids != 0;
	return true;
}

static void *region_;
static uint64_t region_size_;

static void give_back(void)
{
	rqs_go.agent = NULL;
	unmap_own_memory();
	rqs_host_unmap(&agent_);
	rqs_unreserve(region_, region_size_);
}

static bool start(struct rqs_go_setup *setup)
{
	rqs_clock_gettime clock =
	    setup->clock_gettime ? (rqs_clock_gettime)setup->clock_gettime : clock_by_system_call;

	if (!rqs_trial_passes(rqs_host_calls_are_allowed) || rqs_host_counter_faults()) {
		setup->error = -EPERM;
		return false;
	}
	if (!join(setup))
		return false;
	region_size_ = rqs_reserve_share(setup->region_size) & ~(uint64_t)(RQS_CHUNK_SIZE - 1);
	region_ = rqs_reserve(region_size_, setup->region);
	if (!region_)
		return false;
	agent_.env = rqs_host_env(clock);
	agent_.foreign_pids = setup->foreign_pids;
	agent_.attached = setup->attached;
	rqs_go_prepare(&agent_, setup);
	rqs_stamps_start(&agent_);
	rqs_go.placer = (char *)setup->program;
	rqs_go.token = (char *)setup->token;
	if (rqs_go_await(&agent_, NULL) && rqs_host_map(&agent_) && rqs_agent_start(&agent_, region_, region_size_)) {
		rqs_go_adopt(&agent_, setup, setup->region);
		if (setup->attached)
			rqs_adopt_listeners(&agent_);
		return true;
	}
	give_back();
	return false;
}

bool rqs_go_start(struct rqs_go_setup *setup)
{
	bool started = start(setup);

	if (setup->region >= 0)
		rqs_sys1(SYS_close, setup->region);
	return started;
}

/* ---- the end ---- */

static bool is_context_taken(void)
{
	for (unsigned i = 0; rqs_go.contexts && i < CONTEXT_COUNT; i++)
		if (rqs_load(&((struct rqs_go_context *)(rqs_go.contexts + (size_t)i * CONTEXT_SIZE))->taken))
			return true;
	return false;
}

bool rqs_go_stop(void)
{
	struct rqs_table *table = rqs_go.table;
	uint64_t end = rqs_go.goroutines_end;

	if (!rqs_go.agent)
		return true;
	if (is_context_taken())
		return false;
	rqs_go.table = NULL;
	rqs_go.goroutine_mask = 0;
	rqs_go.goroutines = (uint64_t)&nobody;
	rqs_go.goroutines_end = (uint64_t)(&nobody + 1);
	rqs_go.connection_limit = 0;
	rqs_go.sched = 0;
	rqs_go.sample = 0;
	rqs_go.samples_lost = &nobodys_samples;
	if (table)
		rqs_unreserve(table, end - (uint64_t)table);
	give_back();
	return true;
}
