/* py_sites.c - see py_sites.h. */
#include "hook/hook.h"
#include "core/request.h"
#include "python/py_api.h"
#include "python/py_sites.h"

bool rqs_py_sites_on;
static bool frames_known;

void rqs_py_sites_install(void)
{
	rqs_py_sites_on = rqs_sampling;
	frames_known = rqs_py_sites_on && rqs_py_frames_find() && rqs_py_codes_start();
}

/* What is behind the last point doesn't tell where the next one is. */
void rqs_py_sites_next(struct rqs_py_thread *thread)
{
	uint64_t distance = rqs_py_sites_on ? rqs_sample_next(&rqs_agent, &rqs_self) : RQS_SAMPLE_NEVER;
	int64_t ahead = distance < INT64_MAX ? (int64_t)distance : INT64_MAX;

	thread->charged_at = (int64_t)((uint64_t)thread->charged_at + (uint64_t)ahead - (uint64_t)thread->ahead);
	thread->ahead = ahead;
}

/* The child of a fork finds in its copies what its parent serves. */
static bool is_of_this_process(uint32_t slot)
{
	uint64_t owner = rqs_load_relaxed(&rqs_agent.owners[slot / 64]);

	return owner >> 32 == rqs_agent.process_index + 1;
}

/* Whose it is: as it is charged (rqs_py_settle). */
static void find_request(const struct rqs_py_thread *thread, struct rqs_sample_facts *facts)
{
	const struct rqs_py_request *owner = thread->owner;

	if (!owner)
		return;
	if (!rqs_py_is_still(owner, thread->owner_id)) {
		facts->after = true;
		return;
	}
	/* It is open, so it has a slot, and the ordinal is its own if it is open still. */
	uint32_t slot = (uint32_t)(owner - rqs_py_request_at(0));
	if (!is_of_this_process(slot))
		return;
	uint64_t ordinal = rqs_load(&rqs_slot_at(&rqs_agent, slot)->opened);
	facts->after = !rqs_py_is_still(owner, thread->owner_id);
	if (facts->after)
		return;
	facts->slot = slot;
	facts->ordinal = ordinal;
}

/* With the GIL, as the wrapped allocators' callers have it and malloc's may. */
static void __attribute__((noinline)) find_frames(const struct rqs_call *call, struct rqs_sample_facts *facts)
{
	struct rqs_py_frame frames[RQS_SAMPLE_FRAMES];
	const char *state = rqs_py.thread_state();

	if (!frames_known) {
		rqs_count(call->agent, RQS_EVENT_FRAMES_UNKNOWN);
		return;
	}
	if (!state || (facts->kind == RQS_SAMPLE_NATIVE && !rqs_py_frames_are_own(state, rqs_py_self.own)))
		return;
	uint16_t count = rqs_py_frames(state, frames, &facts->more_frames);
	if (count == UINT16_MAX) {
		rqs_count(call->agent, RQS_EVENT_FRAMES_UNKNOWN);
		return;
	}
	rqs_py_codes_number(call, frames, count, facts->frames);
	facts->frame_count = count;
}

void rqs_py_sites_sampled(const struct rqs_call *call, struct rqs_sample_facts *facts)
{
	find_request(&rqs_py_self, facts);
	find_frames(call, facts);
}
