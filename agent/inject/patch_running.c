/* patch_running.c - see running.h: while all threads of a Go program are stopped. */
#include "inject/running.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define PAUSE_NS 2000000l /* between two tries */
/* A thread that takes longer waits for a child to exec: the others aren't to wait for that. */
#define STOPPING_FIRST_NS 20000000ull
#define STOPPING_MAX_NS 500000000ull

bool rqs_running_fails(struct rqs_running *r, int error, const char *why)
{
	r->work.in->error = error;
	return rqs_work_fail(r->work.in, "%s", why);
}

struct rqs_change rqs_running_change(const struct rqs_running *r)
{
	const struct rqs_work *w = &r->work;

	return (struct rqs_change){
	    .plan = w->in->plan,
	    .bias = w->in->bias,
	    .memory = w->tracee->memory,
	    .patches = w->patches,
	    .patch_count = w->patch_count,
	    .placed = w->base,
	    .placed_end = w->base + w->size,
	};
}

/* Another program. Where we have no thread there, what we write goes to the memory that was. */
static bool has_executed(const struct rqs_running *r)
{
	return !r->alone && !rqs_visitor_is_there(r->visitor);
}

static int look_at_threads(struct rqs_running *r, const struct rqs_change *change, bool entering)
{
	if (has_executed(r))
		return -ESRCH;
	return entering ? rqs_go_threads_enter(&r->threads, change) : rqs_go_threads_leave(&r->threads, change);
}

/* At a moment that suits; they have what they go on with. */
static bool stop_all(struct rqs_running *r, bool entering)
{
	struct rqs_change change = rqs_running_change(r);
	struct timespec moment = {.tv_nsec = PAUSE_NS};
	uint64_t patience = STOPPING_FIRST_NS;
	int error = -EAGAIN;

	for (int n = 0; error == -EAGAIN && rqs_tracee_now_ns() < r->deadline_ns; n++) {
		if (n)
			nanosleep(&moment, NULL);
		error = rqs_threads_stop(&r->threads, r->visitor->pid, rqs_tracee_now_ns() + patience);
		if (error == -ETIMEDOUT && has_executed(r))
			error = -ESRCH;
		if (error == -ETIMEDOUT) {
			patience = patience < STOPPING_MAX_NS ? 2 * patience : patience;
			error = -EAGAIN;
			continue;
		}
		if (error)
			break;
		error = look_at_threads(r, &change, entering);
		if (error)
			rqs_threads_release(&r->threads);
	}
	if (error)
		return rqs_running_fails(r, error == -EAGAIN ? -ETIMEDOUT : error,
					 "its threads couldn't be stopped in time");
	rqs_threads_settle(&r->threads);
	return true;
}

/* By one write each: we may be killed between two, not within one. */
static bool write_code(struct rqs_work *w, const struct rqs_patch *patch, const uint8_t *bytes)
{
	return rqs_tracee_write(w->tracee, patch->address, bytes, patch->length) ||
	       rqs_tracee_poke(w->tracee, patch->address, bytes, patch->length);
}

static bool is_there(struct rqs_work *w, const struct rqs_patch *patch, const uint8_t *bytes)
{
	uint8_t now[sizeof(patch->after)];

	return rqs_tracee_read(w->tracee, patch->address, now, patch->length) && !memcmp(now, bytes, patch->length);
}

static bool patch(struct rqs_work *w)
{
	size_t done = 0;

	for (size_t i = 0; i < w->patch_count; i++)
		if (!is_there(w, &w->patches[i], w->patches[i].before))
			return rqs_work_fail(w->in, "its memory isn't what its file says");
	while (done < w->patch_count && write_code(w, &w->patches[done], w->patches[done].after))
		done++;
	if (done == w->patch_count)
		return true;
	for (size_t i = done + 1; i-- > 0;)
		write_code(w, &w->patches[i], w->patches[i].before);
	return rqs_work_fail(w->in, "its code can't be changed");
}

bool rqs_running_patch(struct rqs_running *r)
{
	if (!stop_all(r, true))
		return false;
	bool patched = patch(&r->work);
	rqs_threads_release(&r->threads);
	return patched;
}

/* In the other order. */
bool rqs_running_unpatch(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;
	bool done = true;

	if (!stop_all(r, false))
		return false;
	for (size_t i = w->patch_count; i-- > 0;)
		if (is_there(w, &w->patches[i], w->patches[i].after))
			done &= write_code(w, &w->patches[i], w->patches[i].before);
	rqs_threads_release(&r->threads);
	return done || rqs_work_fail(w->in, "its code can't be changed");
}
