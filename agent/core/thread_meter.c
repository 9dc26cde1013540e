/* thread_meter.c - see meter.h: costs by thread, for programs whose threads are their tasks. */
#include "core/meter.h"

#include "core/agent.h"
#include "core/request.h"
#include "core/sample.h"

static bool is_open(const struct rqs_slot *slot)
{
	return slot->opened != slot->finished + slot->dropped + slot->given_up;
}

/* A thread with two requests open at once can't say whose its allocations are. */
static void note_sharing(const struct rqs_call *call, uint32_t slot)
{
	struct rqs_worker *worker = call->worker;

	if (worker->current != RQS_NO_SLOT && worker->current != slot) {
		struct rqs_slot *other = rqs_slot_at(call->agent, worker->current);

		if (other->opened == worker->current_ordinal && is_open(other)) {
			rqs_request_at(call->agent, worker->current)->shared = true;
			rqs_request_at(call->agent, slot)->shared = true;
		}
	}
	worker->current = slot;
	worker->current_ordinal = rqs_slot_at(call->agent, slot)->opened;
}

static void begin(const struct rqs_call *call, uint32_t slot)
{
	struct rqs_request *request = rqs_request_at(call->agent, slot);
	const struct rqs_worker *worker = call->worker;

	request->alloc_count = worker->counters->alloc_count;
	request->alloc_bytes = worker->counters->alloc_bytes;
	request->thread = worker->thread;
	request->shared = worker->event_loop || worker->thread == RQS_THREADS;
	note_sharing(call, slot);
}

static void answered(const struct rqs_call *call, uint32_t slot)
{
	struct rqs_request *request = rqs_request_at(call->agent, slot);

	if (request->thread != call->worker->thread)
		request->shared = true;
}

static void end(const struct rqs_call *call, uint32_t slot, struct rqs_record *record)
{
	const struct rqs_request *request = rqs_request_at(call->agent, slot);
	const struct rqs_worker *worker = call->worker;

	if (!record || request->shared || request->thread != worker->thread || worker->event_loop)
		return;
	record->alloc_count = worker->counters->alloc_count - request->alloc_count;
	record->alloc_bytes = worker->counters->alloc_bytes - request->alloc_bytes;
	record->flags |= RQS_RECORD_HAS_ALLOC;
}

/*
 * As end() will have it, as far as it is known yet: that the request is
 * answered by another thread, or that this one turns out to be an event
 * loop's, comes later. Then its record has no RQS_RECORD_HAS_ALLOC, and its
 * samples are nobody's.
 */
static void sampled(const struct rqs_call *call, struct rqs_sample_facts *facts)
{
	const struct rqs_worker *worker = call->worker;

	if (worker->current == RQS_NO_SLOT || worker->event_loop)
		return;
	const struct rqs_slot *slot = rqs_slot_at(call->agent, worker->current);
	const struct rqs_request *request = rqs_request_at(call->agent, worker->current);
	if (slot->opened != worker->current_ordinal || !is_open(slot) || request->shared ||
	    request->thread != worker->thread)
		return;
	facts->slot = worker->current;
	facts->ordinal = worker->current_ordinal;
}

const struct rqs_meter rqs_meter_thread = { .begin = begin, .answered = answered, .end = end, .sampled = sampled };

static void begin_nothing(const struct rqs_call *call, uint32_t slot)
{
	(void)call;
	(void)slot;
}

static void end_nothing(const struct rqs_call *call, uint32_t slot, struct rqs_record *record)
{
	(void)call;
	(void)slot;
	(void)record;
}

const struct rqs_meter rqs_meter_none = { .begin = begin_nothing, .end = end_nothing };
