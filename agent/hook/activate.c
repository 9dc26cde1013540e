/*
 * activate.c - turns the agent on, once a process and only where it serves;
 * and the door through which every hook enters the core.
 */
#include "hook/arrival.h"
#include "hook/hook.h"
#include "hook/membership.h"
#include "hook/reserve.h"
#include "hook/sys.h"
#include "hook/trial.h"
#include "runtime/runtime.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

struct rqs_agent rqs_agent;
_Thread_local struct rqs_worker rqs_self;
_Thread_local uint32_t rqs_in_vfork;

/* ---- the core's outside world ---- */

static uint64_t monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now); /* the vDSO; can't fail */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t pid(void)
{
	return (uint32_t)rqs_sys0(SYS_getpid);
}

static uint32_t tid(void)
{
	return (uint32_t)rqs_sys0(SYS_gettid);
}

static uint32_t parent_pid(void)
{
	return (uint32_t)rqs_sys0(SYS_getppid);
}

static bool is_stream_socket(int fd)
{
	int type = 0, listening = 0;
	unsigned size = sizeof(int);

	return rqs_sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
	       rqs_sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && !listening;
}

static void yield(void)
{
	rqs_sys0(SYS_sched_yield);
}

static const struct rqs_env env = {
	.monotonic = monotonic,
	.pid = pid,
	.tid = tid,
	.parent_pid = parent_pid,
	.is_stream_socket = is_stream_socket,
	.yield = yield,
};

/* ---- activation ---- */

enum state { ASLEEP, BUSY, ON, OFF };
static uint32_t state;

/* Address space only: pages come with the descriptors in use. */
static bool map_connections(void)
{
	size_t share = rqs_reserve_share(RQS_DESCRIPTORS * sizeof(struct rqs_conn));

	for (uint32_t n = RQS_DESCRIPTORS; n >= 1024; n /= 2) {
		size_t size = n * sizeof(struct rqs_conn);
		void *table = size <= share || n == 1024 ? rqs_reserve(size, -1) : NULL;

		if (!table)
			continue;
		/* A huge page would take 2 MiB for one connection. */
		rqs_sys3(SYS_madvise, table, size, MADV_NOHUGEPAGE);
		rqs_agent.connections = table;
		rqs_agent.connection_limit = n;
		return true;
	}
	return false;
}

static bool map_alive(void)
{
	rqs_agent.alive = rqs_reserve(4096, -1);
	/* Without WIPEONFORK (before Linux 4.14) the fork hook alone tells a child. */
	if (rqs_agent.alive)
		rqs_sys3(SYS_madvise, rqs_agent.alive, 4096, MADV_WIPEONFORK);
	return rqs_agent.alive != NULL;
}

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

/* What joining takes: a filter from before the exec may forbid it. */
static bool calls_are_allowed(void)
{
	struct msghdr message = { .msg_iov = NULL };
	struct timespec none = { 0 };
	struct pollfd fd = { .fd = -1 };
	void *page = rqs_reserve(4096, -1);
	long own = rqs_sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	return page && rqs_sys2(SYS_munmap, page, 4096) == 0 && rqs_reserve_share(1) && own >= 0 &&
	       rqs_sys3(SYS_connect, -1, NULL, 0) == -EBADF &&
	       rqs_sys6(SYS_sendto, -1, NULL, 0, MSG_NOSIGNAL, NULL, 0) == -EBADF &&
	       rqs_sys5(SYS_ppoll, &fd, 1, &none, NULL, 0) == 0 &&
	       rqs_sys3(SYS_recvmsg, -1, &message, 0) == -EBADF && rqs_sys1(SYS_close, own) == 0 &&
	       rqs_sys2(SYS_pipe2, NULL, 0) == -EFAULT && rqs_sys3(SYS_read, -1, NULL, 0) == -EBADF &&
	       rqs_sys2(SYS_access, "/", 0) == 0 && rqs_sys0(SYS_getpid) > 0 && rqs_sys0(SYS_gettid) > 0 &&
	       rqs_sys0(SYS_getppid) >= 0 && rqs_sys0(SYS_sched_yield) == 0;
}

/* The time stamp counter may be made to fault, for this process before its exec, too. */
static bool counter_faults(void)
{
	int counter = PR_TSC_ENABLE;

	return rqs_sys2(SYS_prctl, PR_GET_TSC, &counter) == 0 && counter != PR_TSC_ENABLE;
}

static bool start(void)
{
	void *region;
	uint64_t size;

	if (!rqs_trial_passes(calls_are_allowed) || counter_faults())
		return false;
	int error = rqs_session_join(&region, &size, &rqs_agent.foreign_pids);

	if (error == -ECONNREFUSED && rqs_session.on_demand) {
		error = rqs_session_start_collector();
		if (!error)
			error = rqs_session_join(&region, &size, &rqs_agent.foreign_pids);
	}
	if (error)
		return false;
	rqs_agent.env = &env;
	rqs_arrival_start();
	detect_runtime();
	if (map_connections() && map_alive() && rqs_agent_start(&rqs_agent, region, size))
		return true;
	rqs_unreserve(region, size);
	return false;
}

void rqs_activate(void)
{
	uint32_t asleep = ASLEEP;
	int saved = errno;
	uint64_t blocked = ~0ull, before;

	if (!rqs_session.wanted || rqs_session.stranger || rqs_in_vfork || rqs_load_relaxed(&state) != ASLEEP)
		return;
	/* Behind a filter of the host's own there is no trying. */
	if (rqs_agent.frozen || rqs_agent.off)
		return;
	if (!__atomic_compare_exchange_n(&state, &asleep, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	/* The host's handlers would cut our calls short, and run in our children. */
	rqs_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, &before, 8);
	bool on = start();
	rqs_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
	dlerror(); /* what looking for symbols left there */
	rqs_store(&state, (uint32_t)(on ? ON : OFF));
	errno = saved;
}

/* ---- entering the core ---- */

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
	worker->busy = true;
	__asm__ volatile("" ::: "memory");
	call->agent = agent;
	call->worker = worker;
	call->queue_ns = 0;
	call->has_queue = false;
	return true;
}
