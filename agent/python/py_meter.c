/* py_meter.c - a request's costs in CPython, from its first byte to its response's last (core/meter.h). */
#include "hook/hook.h"
#include "hook/objects.h"
#include "python/py.h"
#include "python/py_api.h"
#include "python/py_sites.h"

#include "os/sys.h"

bool rqs_py_on;

static void know(struct rqs_py_thread *thread)
{
	/* Behind a filter we don't ask: then it is taken for none. */
	if (thread->known || rqs_load_relaxed(&rqs_agent.frozen))
		return;
	thread->known = true;
	thread->is_main = rqs_sys0(SYS_gettid) == rqs_sys0(SYS_getpid);
}

static void begin(const struct rqs_call *call, uint32_t slot)
{
	struct rqs_py_request *request = rqs_py_request_at(slot);
	struct rqs_py_thread *thread = &rqs_py_self;

	if (!rqs_py_on)
		return;
	know(thread);
	rqs_py_goes_on();
	rqs_store_relaxed(&request->live, 0);
	request->sequence = 0;
	request->fd = call->fd;
	request->allocators = rqs_py_allocators_now();
	rqs_py_allocators_check();
	request->alloc_count = request->raw_count = request->alloc_bytes = 0;
	request->recv_bytes = 0;
	request->cpu_ticks = request->cpu_ns = request->gil_ticks = 0;
	bool measured = thread->is_loop && thread->wait_ended && call->has_queue;
	request->loop_ticks = measured ? rqs_py_loop_delay(thread, call) : UINT64_MAX;
	if (++request->id == 0)
		request->id = 1;
	request->handed_over = thread->hands_over;
	request->behind = !thread->reading;
	request->in_shared = request->followed = false;
	rqs_store(&request->live, request->id);
	if (thread->hands_over)
		return; /* whatever is known of it is only a part */
	thread->served = request;
	thread->served_id = request->id;
	/* What follows at once, such as waiting for the GIL, is for it. */
	rqs_py_switch(thread, request, request->id);
	rqs_py_name_request(thread, request);
}

static void answered(const struct rqs_call *call, uint32_t slot)
{
	(void)call;
	rqs_py_answers(&rqs_py_self, rqs_py_request_at(slot));
}

/* Else ours may have been taken out: it shows by a change, and by no call of ours in a whole request. */
static bool saw_allocations(const struct rqs_py_request *request)
{
	if (!rqs_load_relaxed(&request->alloc_count) || request->allocators != rqs_py_allocators_now())
		return false;
	rqs_py_allocators_reach_us(request->allocators);
	return true;
}

static void fill(const struct rqs_call *call, const struct rqs_py_request *request, struct rqs_record *record)
{
	double ticks_per_ns = (double)call->agent->region->ticks_per_second / 1e9;

	record->alloc_count = rqs_load_relaxed(&request->alloc_count) + rqs_load_relaxed(&request->raw_count);
	record->alloc_bytes = rqs_load_relaxed(&request->alloc_bytes);
	/* Read where all connections are, and nowhere else seen: its task has another's name, or none. */
	if (request->handed_over || (request->in_shared && !request->followed))
		return;
	record->recv_buffer_bytes = rqs_load_relaxed(&request->recv_bytes);
	record->cpu_ticks = request->cpu_ticks + (uint64_t)((double)request->cpu_ns * ticks_per_ns);
	record->gil_ticks = rqs_load_relaxed(&request->gil_ticks);
	record->flags |= RQS_RECORD_HAS_RECV | RQS_RECORD_HAS_GIL;
	if (saw_allocations(request))
		record->flags |= RQS_RECORD_HAS_ALLOC;
	/* Behind a filter a thread's clock isn't asked. */
	if (!rqs_load_relaxed(&rqs_agent.frozen))
		record->flags |= RQS_RECORD_HAS_CPU;
	if (request->loop_ticks != UINT64_MAX) {
		record->loop_ticks = request->loop_ticks;
		record->flags |= RQS_RECORD_HAS_LOOP;
	}
}

static void end(const struct rqs_call *call, uint32_t slot, struct rqs_record *record)
{
	struct rqs_py_request *request = rqs_py_request_at(slot);
	struct rqs_py_thread *thread = &rqs_py_self;
	uint32_t id = request->live;

	if (!rqs_py_on || !id)
		return;
	rqs_py_allocators_check();
	if (thread->owner == request)
		rqs_py_switch(thread, NULL, 0);
	if (record)
		rqs_py_ends(thread, request, record->route, record->route_length);
	rqs_store(&request->live, 0);
	thread->aftermath = !thread->is_loop && thread->served == request;
	/* Whoever works in its name from now on comes late: the context has to be looked into again. */
	rqs_py_look_again(thread);
	if (record)
		fill(call, request, record);
}

const struct rqs_meter rqs_meter_python = {
	.begin = begin, .answered = answered, .end = end, .sampled = rqs_py_sites_sampled
};

/* ---- threads ---- */

bool rqs_py_is_serving(void)
{
	const struct rqs_py_thread *thread = &rqs_py_self;

	return !thread->is_loop && rqs_py_is_still(thread->served, thread->served_id);
}

void rqs_py_hands_over(void)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	thread->served->handed_over = true;
	thread->served = NULL;
	thread->hands_over = true;
	rqs_py_switch(thread, NULL, 0);
	rqs_py_look_again(thread);
}

/* ---- event loops ---- */

void rqs_py_wait_begins(void)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	know(thread);
	rqs_py_allocators_check();
	/* Its time is charged otherwise from now on: what an owner has so far is left out. */
	if (!thread->is_loop) {
		rqs_py_settle(thread);
		thread->is_loop = true;
		thread->owner = NULL;
	}
	rqs_py_switch(thread, NULL, 0);
	thread->since = 0;
	rqs_py_look_again(thread);
	thread->wait_began = rqs_now(&rqs_agent);
}

void rqs_py_wait_ends(void)
{
	rqs_py_self.loops++;
	rqs_py_self.wait_ended = rqs_now(&rqs_agent);
}

/* ---- installing ---- */

static bool install(bool gil_is_seen)
{
	struct rqs_py_thread *thread = &rqs_py_self;
	bool installed;

	know(thread);
	rqs_py_enter(thread);
	int gil = rqs_py.PyGILState_Ensure();
	installed = rqs_py_context_install() && rqs_py_memory_install(gil_is_seen);
	rqs_py.PyGILState_Release(gil);
	rqs_py_leave(thread, false);
	return installed;
}

static bool tried;

bool rqs_py_install(void)
{
	static bool looked, known;

	/* What isn't there won't come, and looking costs more than a connection does. */
	if (!looked)
		known = rqs_py_find();
	looked = true;
	/* A thread that Python doesn't know can't take the GIL without a trace. */
	if (tried || !known || !rqs_py.Py_IsInitialized() || !rqs_py.PyGILState_GetThisThreadState())
		return rqs_py_on;
	tried = true;
	rqs_py_on = install(rqs_py_gil_find());
	return rqs_py_on;
}

/* One that ends has no lock that could be had any more; what is left in it ends with it. */
static bool is_ending(void)
{
	int (*ending)(void) = NULL;
	void *found = rqs_objects_any("Py_IsFinalizing", NULL);

	/* The second is its name before 3.13. */
	if (!found)
		found = rqs_objects_any("_Py_IsFinalizing", NULL);
	*(void **)(void *)&ending = found;
	return !rqs_py.Py_IsInitialized() || (ending && ending());
}

void rqs_py_uninstall(uint32_t connections)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (!tried)
		return;
	rqs_py_on = false;
	tried = false;
	rqs_py_generation++;
	if (is_ending())
		return;
	rqs_py_enter(thread);
	int gil = rqs_py.PyGILState_Ensure();
	rqs_py_memory_uninstall();
	rqs_py_context_uninstall(connections);
	rqs_py.PyGILState_Release(gil);
	rqs_py_leave(thread, false);
}

void rqs_py_forget(void)
{
	if (!rqs_py_generation)
		return;
	rqs_py_context_forget();
	rqs_py_memory_forget();
	rqs_py_codes_forget();
}

/* ---- threads that were there before ---- */

void rqs_py_renew(struct rqs_py_thread *thread)
{
	*thread = (struct rqs_py_thread){
		.inside = thread->inside,
		.is_loop = thread->is_loop,
		.is_main = thread->is_main,
		.known = thread->known,
		.number = thread->number,
	};
}

void rqs_py_thread_starts(enum rqs_py_found found)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	rqs_py_renew(thread);
	if (found == RQS_PY_FOUND_LOOP)
		thread->is_loop = true;
	else if (found == RQS_PY_FOUND_UNSURE && !thread->is_loop)
		thread->unsure = thread->hands_over = thread->aftermath = true;
}
