/* got.c - see got.h: all objects, those that come later among them. */
#include "hook/got.h"

#include "hook/got_object.h"
#include "hook/got_table.h"
#include "hook/hook.h"
#include "hook/objects.h"
#include "os/reserve.h"
#include "os/sys.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define PATIENCE 100000u /* calls of sched_yield */

/* ---- objects that are hooked already ---- */

#define NS_PER_MS 1000000u
#define LOADING_MS 2000u /* after a dlopen began, or an object came that isn't ready */
#define SETTLING_MS 200u /* after the attach: slots that were being resolved then */
#define DONE 4096u

/*
 * While an object is being loaded it is in the list, but not ready; and the
 * linker may resolve a slot while we change it. So each is visited again for
 * some time; afterwards only where another one has taken its place.
 */
static struct done {
	uint64_t print; /* of what it is, and where */
	uint64_t since; /* ns */
	uint32_t newest; /* record of a slot in it, which leads to the older ones; 0 none */
	uint32_t witness; /* the one that was the newest when it was visited anew; 0 none */
} *done;
static uint32_t done_count;
static bool forgotten; /* some were: where their slots are is known by the records alone */

static uint64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
	return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static uint64_t print_of(const struct dl_phdr_info *info)
{
	uint64_t print = (info->dlpi_addr ^ (uint64_t)info->dlpi_phdr) * 0x9e3779b97f4a7c15u;

	for (const char *name = info->dlpi_name; name && *name; name++)
		print = (print ^ (uint8_t)*name) * 0x100000001b3u;
	return print | 1;
}

/* The object's, or where it is to be: its print isn't there then. */
static struct done *place_of(uint64_t print)
{
	for (uint32_t at = (uint32_t)(print >> 32) % DONE;; at = (at + 1) % DONE)
		if (!done[at].print || done[at].print == print)
			return &done[at];
}

static struct done *done_of(const struct dl_phdr_info *info)
{
	uint64_t print = print_of(info);

	/* Where so many have come and gone all are visited again. */
	if (done_count == DONE / 2) {
		memset(done, 0, DONE * sizeof(*done));
		done_count = 0;
		forgotten = true;
	}
	struct done *state = place_of(print);
	if (!state->print) {
		done_count++;
		*state = (struct done){ .print = print, .since = now() };
	}
	return state;
}

/* Another one may have taken its place: that has slots of its own. */
static bool is_still_hooked(const struct rqs_got_object *object, const struct done *state)
{
	const struct rqs_got_record *record = rqs_got_record(state->witness);

	return rqs_got_object_has(object, record->slot) &&
	       rqs_load_relaxed(record->slot) == rqs_got_target(record->target)->ours;
}

static bool is_done(const struct rqs_got_object *object, struct done *state)
{
	if (now() - state->since <= LOADING_MS * NS_PER_MS)
		return false;
	if (!state->witness || is_still_hooked(object, state))
		return true;
	state->since = now();
	state->witness = 0;
	return false;
}

/* ---- all of them ---- */

static uint64_t adds_seen;
static bool all_done;

/* The linker works while its own tables are half made. */
static bool is_left_alone(const struct dl_phdr_info *info)
{
	return rqs_objects_is_own(info) || rqs_objects_is_linker(info);
}

static void hook(struct rqs_got_object *object, struct done *state)
{
	uint32_t before = state->newest;

	rqs_got_object_hook(object, &state->newest);
	if (state->newest != before)
		state->witness = state->newest;
}

static int visit_to_hook(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)size;
	(void)argument;
	adds_seen = info->dlpi_adds;
	if (is_left_alone(info))
		return 0;
	struct rqs_got_object object = rqs_got_object(info);
	struct done *state = done_of(info);
	if (is_done(&object, state))
		return 0;
	all_done = false;
	if (rqs_got_object_is_ready(&object))
		hook(&object, state);
	else
		state->since = now();
	return 0;
}

static int visit_to_unhook(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)size;
	*(bool *)argument = true;
	const struct done *state = place_of(print_of(info));
	if (is_left_alone(info) || !state->print || !state->newest)
		return 0;
	struct rqs_got_object object = rqs_got_object(info);
	/* Somebody else has opened them: they stay so. */
	if (!rqs_got_object_is_ready(&object))
		object.sealed_end = object.sealed;
	for (uint32_t n = state->newest; n; n = rqs_got_record(n)->older)
		if (rqs_got_object_has(&object, rqs_got_record(n)->slot))
			rqs_got_object_restore(&object, n);
	rqs_got_object_seal(&object);
	return 0;
}

/* Also the lock: who is at the tables. After a fork of another thread that one isn't there. */
static uint64_t hooked;
enum { OUT, IN };
#define BUSY_OF(pid) ((uint64_t)(pid) << 1 | 1ull << 63)

static bool begin(uint64_t from)
{
	uint64_t here = BUSY_OF(rqs_sys0(SYS_getpid)), at = rqs_load(&hooked);

	if (at != OUT && at != IN && at != here)
		rqs_swap(&hooked, at, IN);
	return rqs_swap(&hooked, from, here);
}

static bool map_tables(void)
{
	if (!done)
		done = rqs_reserve_sparse(DONE * sizeof(*done));
	return done && rqs_got_records_map();
}

bool rqs_got_hook(void)
{
	if (!map_tables() || !begin(OUT))
		return false;
	rqs_got_targets_find();
	rqs_objects_walk(visit_to_hook, NULL);
	for (uint32_t i = 0; i < DONE; i++)
		if (done[i].print)
			done[i].since -= (LOADING_MS - SETTLING_MS) * NS_PER_MS;
	rqs_store_relaxed(&rqs_got_due, 1u);
	rqs_store(&hooked, (uint64_t)IN);
	return true;
}

/* By what was noted: in the child of a fork that came while the list was walked nobody can walk it any more. */
static void unhook_noted(void)
{
	for (uint32_t n = rqs_got_records(); n; n--) {
		const char **slot = rqs_got_record(n)->slot;
		struct rqs_got_object object = rqs_got_object_around(slot);

		if (!rqs_readable(slot, sizeof(*slot)))
			continue;
		if (!rqs_got_object_is_ready(&object))
			object.sealed_end = object.sealed;
		rqs_got_object_restore(&object, n);
		rqs_got_object_seal(&object);
	}
}

static void unhook_all(void)
{
	bool walked = false;

	rqs_objects_walk(visit_to_unhook, &walked);
	if (!walked || forgotten)
		unhook_noted();
}

/* Another thread may be hooking what has just been loaded; it won't be long, or takes its own out again. */
void rqs_got_unhook(void)
{
	rqs_store_relaxed(&rqs_got_due, 0u);
	for (uint32_t i = 0; !begin(IN) && i < PATIENCE; i++) {
		if (rqs_load(&hooked) == OUT)
			return;
		rqs_sys0(SYS_sched_yield);
	}
	unhook_all();
	rqs_store(&hooked, (uint64_t)OUT);
}

void rqs_got_release(void)
{
	rqs_got_records_forget();
	if (done)
		rqs_reserve_forget(done, DONE * sizeof(*done));
	done_count = 0;
	forgotten = false;
}

/* ---- what is loaded later ---- */

#define PAUSE_MS 10u
#define PAUSE_FACTOR 32u /* times what the last look took */

uint32_t rqs_got_due;
static uint64_t opened_at, looked_at; /* ns; 0 never */
static uint64_t pause_ns;

static int read_adds(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)size;
	*(uint64_t *)argument = info->dlpi_adds;
	return 1;
}

static bool is_time(void)
{
	uint64_t at = now(), adds = 0;

	rqs_objects_walk(read_adds, &adds);
	if (adds != rqs_load_relaxed(&adds_seen))
		rqs_store_relaxed(&opened_at, at);
	else if (!rqs_load_relaxed(&rqs_got_due) || at - rqs_load_relaxed(&looked_at) < rqs_load_relaxed(&pause_ns))
		return false;
	return true;
}

static void look(void)
{
	uint64_t ticks = rqs_now(&rqs_agent);

	all_done = true;
	rqs_objects_walk(visit_to_hook, NULL);
	uint64_t at = now(), rate = rqs_agent.region->ticks_per_second / 1000000 + 1;
	uint64_t took_ns = (rqs_now(&rqs_agent) - ticks) / rate * 1000;
	bool is_due = !all_done || at - rqs_load_relaxed(&opened_at) <= LOADING_MS * NS_PER_MS;

	uint64_t pause = took_ns * PAUSE_FACTOR, least = PAUSE_MS * NS_PER_MS;

	rqs_store_relaxed(&pause_ns, pause > least ? pause : least);
	rqs_store_relaxed(&looked_at, at);
	rqs_store_relaxed(&rqs_got_due, (uint32_t)is_due);
}

__attribute__((used)) void rqs_got_look(void)
{
	int saved = errno;

	if (rqs_active() && !rqs_in_vfork && !rqs_load_relaxed(&rqs_agent.frozen) && is_time() && begin(IN)) {
		look();
		if (!rqs_swap(&hooked, BUSY_OF(rqs_sys0(SYS_getpid)), IN))
			unhook_all();
	}
	errno = saved;
}

void rqs_got_opens(void);

__attribute__((used)) void rqs_got_opens(void)
{
	if (!rqs_in_vfork) {
		rqs_store_relaxed(&opened_at, now());
		rqs_store_relaxed(&rqs_got_due, 1u);
	}
	rqs_got_look();
}
