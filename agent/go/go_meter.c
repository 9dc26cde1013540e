/*
 * go_meter.c - what a request costs: its goroutine's share, and that of the
 * goroutines started on its behalf.
 *
 * A goroutine's counters grow for ever (entries.S); a request is the
 * difference between its end and its beginning. Children add to their
 * request's meter as long as its generation is theirs.
 */
#include "go/go.h"

#include "core/request.h"

#define PROBES 256u

/* ---- the table ---- */

static struct rqs_goroutine *find(uint64_t g)
{
	uint64_t at = rqs_go.goroutines + (g >> 2 & rqs_go.goroutine_mask);

	if (!rqs_go.table || !g)
		return NULL;
	for (uint32_t i = 0; i < PROBES; i++) {
		struct rqs_goroutine *goroutine = (struct rqs_goroutine *)at;
		uint64_t key = rqs_load_relaxed(&goroutine->g);

		if (key == 0 && rqs_swap(&goroutine->g, 0, g)) {
			rqs_store_relaxed(&goroutine->sample, rqs_go.sample);
			return goroutine;
		}
		if (key == g || (key == 0 && rqs_load_relaxed(&goroutine->g) == g))
			return goroutine;
		at += sizeof(*goroutine);
		if (at >= rqs_go.goroutines_end)
			at = rqs_go.goroutines;
	}
	return NULL;
}

/* ---- a pair of words: generation and sum ---- */

/* Sets p[0..1] to the words given, at once; what was there before is returned in *low and *high. */
static void exchange_pair(void *p, uint64_t new_low, uint64_t new_high, uint64_t *low, uint64_t *high)
{
	uint64_t old_low = ((volatile uint64_t *)p)[0], old_high = ((volatile uint64_t *)p)[1];
	bool done;

	do {
		__asm__ volatile("lock cmpxchg16b %1"
				 : "=@ccz"(done), "+m"(*(char(*)[16])p), "+a"(old_low), "+d"(old_high)
				 : "b"(new_low), "c"(new_high)
				 : "memory");
	} while (!done);
	*low = old_low;
	*high = old_high;
}

struct children {
	uint64_t count, bytes, ticks;
};

/* Nothing more is added for the generation that ends. own: by the goroutine that serves it, whose children are its. */
static struct children next_generation(struct rqs_go_meter *meter, bool own)
{
	uint32_t generation = meter->generation + 1;
	struct children sums = { 0 };
	uint64_t low, ignored;

	/* Where none was born, nobody knows of the generation: there is nothing to take, and nobody to tell. */
	if (own && !rqs_load_relaxed(&meter->born)) {
		rqs_store_relaxed(&meter->generation, generation);
		rqs_store_relaxed(&meter->cpu_generation, generation);
		return sums;
	}
	rqs_store_relaxed(&meter->born, 0);
	exchange_pair(&meter->generation, generation, 0, &low, &sums.bytes);
	sums.count = low >> 32;
	exchange_pair(&meter->cpu_generation, generation, 0, &ignored, &sums.ticks);
	return sums;
}

/* ---- the meter ---- */

static struct rqs_go_meter *meter_of(uint32_t slot)
{
	return &rqs_go.meters[slot];
}

static bool is_serving(const struct rqs_goroutine *goroutine)
{
	const struct rqs_go_meter *meter = (const struct rqs_go_meter *)goroutine->serving;

	return meter && rqs_load_relaxed(&meter->generation) == (uint32_t)goroutine->serving_generation;
}

static void leave(struct rqs_go_meter *meter)
{
	if (meter->goroutine && meter->goroutine->serving == (uint64_t)meter)
		meter->goroutine->serving = 0;
	meter->goroutine = NULL;
}

/* Ticks on a CPU until `now`, the current slice included; it may have begun in the call that is being told of. */
static uint64_t running(const struct rqs_goroutine *goroutine, uint64_t now)
{
	return goroutine->running + (goroutine->since && now > goroutine->since ? now - goroutine->since : 0);
}

static void begin(const struct rqs_call *call, uint32_t slot)
{
	struct rqs_go_meter *meter = meter_of(slot);
	struct rqs_goroutine *goroutine = find(call->task);

	/* Begun before, by another; else nobody knows of the generation yet. */
	if (meter->g) {
		leave(meter);
		next_generation(meter, false);
	}
	meter->g = call->task;
	meter->goroutine = goroutine;
	meter->shared = false;
	meter->away = 0;
	meter->away_runnable = 0;
	if (!goroutine)
		return;
	if (is_serving(goroutine)) {
		((struct rqs_go_meter *)goroutine->serving)->shared = true;
		meter->shared = true;
	}
	/* From before the attach, and never seen waiting: it runs, as it makes this call. */
	if (rqs_go.sched && !goroutine->since)
		goroutine->since = call->ticks;
	meter->alloc_count = goroutine->alloc_count;
	meter->alloc_bytes = goroutine->alloc_bytes;
	meter->running = rqs_go.sched ? running(goroutine, call->ticks) : 0;
	meter->runnable = goroutine->runnable;
	goroutine->serving_generation = meter->generation;
	rqs_store(&goroutine->serving, (uint64_t)meter);
}

/*
 * net/http reads one byte ahead on another goroutine, while the handler runs:
 * whoever reads the rest of the head serves it.
 */
static void read_on(const struct rqs_call *call, uint32_t slot)
{
	if (meter_of(slot)->g != call->task)
		begin(call, slot);
}

/* As long as its generation is seen afterwards, the slot was this request's when `opened` was read. */
static bool is_open(uint64_t meter_address, uint64_t generation, uint64_t *ordinal)
{
	const struct rqs_go_meter *meter = (const struct rqs_go_meter *)meter_address;

	if (!meter)
		return false;
	*ordinal = rqs_load(&rqs_slot_at(rqs_go.agent, (uint32_t)(meter - rqs_go.meters))->opened);
	return rqs_load(&meter->generation) == (uint32_t)generation && !rqs_load_relaxed(&meter->shared);
}

bool rqs_go_request_of(const struct rqs_goroutine *goroutine, uint32_t *slot, uint64_t *ordinal)
{
	uint64_t serving = rqs_load(&goroutine->serving), owner = goroutine->owner;

	if (is_open(serving, goroutine->serving_generation, ordinal))
		*slot = (uint32_t)((const struct rqs_go_meter *)serving - rqs_go.meters);
	else if (is_open(owner, goroutine->owner_generation, ordinal))
		*slot = (uint32_t)((const struct rqs_go_meter *)owner - rqs_go.meters);
	else
		return false;
	return true;
}

/* Does the calling goroutine serve this request, or was it started for it? */
static bool is_its_own(const struct rqs_call *call, const struct rqs_go_meter *meter)
{
	if (call->task == meter->g)
		return true;
	const struct rqs_goroutine *goroutine = find(call->task);

	return goroutine && goroutine->owner == (uint64_t)meter &&
	       (uint32_t)goroutine->owner_generation == meter->generation;
}

static void end(const struct rqs_call *call, uint32_t slot, struct rqs_record *record)
{
	const uint32_t alloc = RQS_MEASURES_ALLOC | RQS_MEASURES_CHILDREN;
	struct rqs_go_meter *meter = meter_of(slot);
	const struct rqs_goroutine *goroutine = meter->goroutine;
	uint32_t measures = call->agent->measures;
	bool own = goroutine && !meter->shared && is_its_own(call, meter);
	bool same = call->task == meter->g;
	struct children children = next_generation(meter, same);

	leave(meter);
	meter->g = 0;
	if (record && !goroutine && rqs_go.table)
		rqs_count(call->agent, RQS_EVENT_TABLE_FULL);
	if (!record || !own)
		return;
	if ((measures & alloc) == alloc) {
		record->alloc_count = goroutine->alloc_count - meter->alloc_count + children.count;
		record->alloc_bytes = goroutine->alloc_bytes - meter->alloc_bytes + children.bytes;
		record->flags |= RQS_RECORD_HAS_ALLOC;
	}
	if ((measures & RQS_MEASURES_SCHED) && same) {
		uint64_t cpu = running(goroutine, call->ticks) - meter->running;

		record->cpu_ticks = cpu > meter->away ? cpu - meter->away : 0;
		record->sched_ticks = goroutine->runnable - meter->runnable + meter->away_runnable;
		record->children_ticks = children.ticks;
		record->flags |= RQS_RECORD_HAS_CPU | RQS_RECORD_HAS_SCHED;
	}
}

const struct rqs_meter rqs_meter_go = { .begin = begin, .read_on = read_on, .end = end };
