/* py_times.c - the clocks of CPython's threads, and what of their time is charged to whom. */
#include "hook/hook.h"
#include "python/py.h"

#include <time.h>

/* Of an event loop time is what passes between its waits; others have the processor for parts of it only. */
uint64_t rqs_py_clock(const struct rqs_py_thread *thread)
{
	struct timespec now;

	if (thread->is_loop)
		return rqs_now(&rqs_agent);
	/* A system call, which a filter may forbid; the time so far is all there is then. */
	if (rqs_load_relaxed(&rqs_agent.frozen))
		return thread->since;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Of the wait in the kernel: the loop was busy before it looked, and was busy with others after it had been told. */
uint64_t rqs_py_loop_delay(const struct rqs_py_thread *thread, const struct rqs_call *call)
{
	uint64_t rate = call->agent->region->ticks_per_second;
	uint64_t queue = (uint64_t)((double)call->queue_ns * (double)rate / 1e9);
	uint64_t arrived = call->ticks - queue;
	uint64_t told = thread->wait_ended > arrived ? thread->wait_ended : arrived;
	uint64_t before = thread->wait_began > arrived ? thread->wait_began - arrived : 0;
	uint64_t delay = before + (call->ticks > told ? call->ticks - told : 0);

	return delay < queue ? delay : queue;
}

void rqs_py_waited(uint64_t ticks)
{
	struct rqs_py_thread *thread = &rqs_py_self;
	struct rqs_py_request *owner = thread->owner;

	if (!rqs_py_is_still(owner, thread->owner_id))
		return;
	rqs_add(&owner->gil_ticks, ticks);
	/* An event loop's time is what passes; this wasn't its own. */
	if (thread->is_loop && thread->since)
		thread->since += ticks;
}
