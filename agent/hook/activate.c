/*
 * activate.c - turns the agent on, once a process and only where it serves;
 * and the door through which every hook enters the core.
 */
#include "go/go.h"
#include "hook/arrival.h"
#include "hook/go_program.h"
#include "hook/hook.h"
#include "hook/membership.h"
#include "os/adopt.h"
#include "os/host.h"
#include "os/reserve.h"
#include "os/sys.h"
#include "os/trial.h"
#include "python/py.h"
#include "runtime/runtime.h"

#include <errno.h>
#include <time.h>

struct rqs_agent rqs_agent;
_Thread_local struct rqs_worker rqs_self;
_Thread_local uint32_t rqs_in_vfork;

/* ---- activation ---- */

enum state { ASLEEP, BUSY, ON, OFF };
static uint32_t state;

#define ADDRESS(symbol) &rqs_runtime_##symbol,
static const struct rqs_runtime_ops *const runtimes[] = { RQS_RUNTIME_LIST(ADDRESS) };
#undef ADDRESS

static void detect_runtime(void)
{
	for (size_t i = 0; i < sizeof(runtimes) / sizeof(runtimes[0]); i++) {
		if (runtimes[i]->detect(rqs_agent.version, sizeof(rqs_agent.version))) {
			rqs_agent.runtime = runtimes[i]->id;
			return;
		}
	}
}

static int join(struct rqs_joined *joined)
{
	int error = rqs_session_join(joined);

	if (error == -ECONNREFUSED && rqs_session.on_demand) {
		error = rqs_session_start_collector();
		if (!error)
			error = rqs_session_join(joined);
	}
	return error;
}

void rqs_activate_python(void)
{
	if (rqs_likely(rqs_agent.runtime != RQS_RUNTIME_PYTHON || rqs_py_on) || rqs_in_vfork || !rqs_py_install())
		return;
	rqs_agent.meter = &rqs_meter_python;
	rqs_agent.measures |= RQS_MEASURES_ALLOC;
	if (rqs_agent.process)
		__atomic_fetch_or(&rqs_agent.process->measures, RQS_MEASURES_ALLOC, __ATOMIC_RELEASE);
}

static bool start_agent(const struct rqs_joined *joined)
{
	const struct rqs_go_setup *go = rqs_go_program_setup();

	if (go)
		rqs_go_prepare(&rqs_agent, go);
	else
		detect_runtime();
	rqs_activate_python();
	if (!(rqs_agent.connections || rqs_host_map(&rqs_agent)) ||
	    !rqs_agent_start(&rqs_agent, joined->region, joined->size))
		return false;
	if (go) {
		rqs_go_adopt(&rqs_agent, go, joined->memory);
		rqs_go_program_tell();
	}
	return true;
}

/*
 * Where the region of a process that was attached to is, or was: the next one
 * comes to the same place, which is never without memory. Threads may have
 * read its address long ago.
 */
static struct {
	char *at;
	size_t size;
} place;

static void put_in_place(struct rqs_joined *joined)
{
	if (place.at && joined->size <= place.size && rqs_reserve_move(joined->region, joined->size, place.at))
		joined->region = place.at;
}

static void take_from_place(void)
{
	void *empty = rqs_reserve_sparse(place.size);

	if (empty && !rqs_reserve_move(empty, place.size, place.at))
		rqs_unreserve(empty, place.size);
}

static void give_up(struct rqs_joined *joined)
{
	if (joined->region == place.at) {
		take_from_place();
		return;
	}
	if (!place.at)
		rqs_host_unmap(&rqs_agent);
	rqs_unreserve(joined->region, joined->size);
}

/* 0 or -errno. */
static int start(struct rqs_joined *joined)
{
	if (!rqs_trial_passes(rqs_host_calls_are_allowed) || rqs_host_counter_faults())
		return -EPERM;
	int error = join(joined);
	if (error)
		return error;
	put_in_place(joined);
	rqs_agent.foreign_pids = joined->foreign_pids;
	rqs_agent.env = rqs_host_env(clock_gettime);
	rqs_stamps_start(&rqs_agent);
	if (((struct rqs_region_header *)joined->region)->sample_bytes && !rqs_go_program_setup())
		rqs_sampling_begin();
	bool started = start_agent(joined);
	rqs_sys1(SYS_close, joined->memory);
	if (started)
		return 0;
	rqs_sampling_end();
	give_up(joined);
	return -ENOSPC;
}

void rqs_activate(void)
{
	uint32_t asleep = ASLEEP;
	int saved = errno;
	uint64_t blocked = ~0ull, before;
	struct rqs_joined joined;

	if (!rqs_session.wanted || rqs_session.stranger || rqs_in_vfork || rqs_load_relaxed(&state) != ASLEEP)
		return;
	/* Behind a filter of the host's own there is no trying. */
	if (rqs_agent.frozen || rqs_agent.off)
		return;
	if (!__atomic_compare_exchange_n(&state, &asleep, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	/* The host's handlers would cut our calls short, and run in our children. */
	rqs_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, &before, 8);
	bool on = start(&joined) == 0;
	rqs_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
	rqs_store(&state, (uint32_t)(on ? ON : OFF));
	errno = saved;
}

/* ---- being attached to, any number of times ---- */

int rqs_activate_now(void)
{
	struct rqs_joined joined;

	/* From now on nobody else activates it. */
	rqs_store(&state, (uint32_t)ON);
	rqs_agent_renew(&rqs_agent);
	rqs_agent.attached = true;
	int error = start(&joined);
	if (error)
		return error;
	if (joined.region != place.at) {
		place.at = joined.region;
		place.size = joined.size;
	}
	rqs_store(&rqs_agent.off, false);
	rqs_adopt_listeners(&rqs_agent);
	return 0;
}

void rqs_deactivate(void)
{
	rqs_stamps_stop(&rqs_agent);
	rqs_sampling_ends();
	rqs_agent_stop(&rqs_agent);
	rqs_sampling_end();
}

void rqs_deactivated(void)
{
	rqs_sampling_ended();
	take_from_place();
	rqs_reserve_forget(rqs_agent.connections, rqs_agent.connection_limit * sizeof(struct rqs_conn));
}

/* ---- entering the core ---- */

/*
 * One that was begun before we came has never been in the core, whose own
 * threads needn't ask. A fork's child hasn't either, but is told by the page
 * that it finds wiped.
 */
bool rqs_is_vforked(void)
{
	const struct rqs_agent *agent = &rqs_agent;

	if (rqs_in_vfork)
		return true;
	if (rqs_likely(!agent->attached) || !rqs_agent_on(agent) || agent->frozen || !rqs_load(&agent->alive->epoch) ||
	    rqs_worker_ready(agent, &rqs_self))
		return false;
	return (uint32_t)rqs_load_relaxed(&agent->process->owner) != (uint32_t)rqs_sys0(SYS_getpid);
}

bool rqs_enter(struct rqs_call *call)
{
	struct rqs_worker *worker = &rqs_self;
	struct rqs_agent *agent = &rqs_agent;

	if (rqs_unlikely(rqs_in_vfork))
		return false;
	if (rqs_unlikely(!rqs_agent_on(agent)))
		return false;
	if (rqs_unlikely(worker->busy)) {
		rqs_count(agent, RQS_EVENT_REENTERED);
		return false;
	}
	if (rqs_unlikely(!rqs_worker_ready(agent, worker)) && rqs_is_vforked())
		return false;
	if (!rqs_worker_enter(agent, worker))
		return false;
	worker->busy = true;
	__asm__ volatile("" ::: "memory");
	rqs_call_begin(call, agent, worker, 0);
	return true;
}
