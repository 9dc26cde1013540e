/* family.c - see keeping.h: who belongs to the target, who of them is attached to, and is detached from. */
#include "cmd/claim.h"
#include "cmd/keeping.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- in ---- */

static struct rqs_member *find_member(const struct rqs_keeper *k, const struct rqs_seen_process *seen)
{
	for (size_t i = 0; i < k->count; i++)
		if (k->members[i]->seen.pid == seen->pid && k->members[i]->seen.start == seen->start)
			return k->members[i];
	return NULL;
}

struct rqs_member *rqs_family_add(struct rqs_keeper *k, const struct rqs_seen_process *seen)
{
	struct rqs_member *m = calloc(1, sizeof(*m));

	if (m && k->count == k->room) {
		size_t room = k->room ? 2 * k->room : 16;
		struct rqs_member **members = realloc(k->members, room * sizeof(*members));

		if (!members) {
			free(m);
			return NULL;
		}
		k->members = members;
		k->room = room;
	}
	if (!m)
		return NULL;
	m->seen = *seen;
	return k->members[k->count++] = m;
}

/* What was found in its memory is there no more after an exec. */
static bool is_same_image(const struct rqs_member *m)
{
	struct rqs_seen_process now;

	return rqs_process_see(m->seen.pid, &now) && now.start == m->seen.start && now.image == m->seen.image;
}

static bool lives(const struct rqs_member *m)
{
	struct rqs_seen_process now;

	return rqs_process_see(m->seen.pid, &now) && now.start == m->seen.start && !rqs_process_has_ended(&now);
}

static void forget_dead(struct rqs_keeper *k)
{
	size_t kept = 0;

	for (size_t i = 0; i < k->count; i++) {
		struct rqs_member *m = k->members[i];

		if (m->present || lives(m)) {
			k->members[kept++] = m;
			continue;
		}
		free(m);
	}
	k->count = kept;
}

/* A process that was just made may be about to execute something, and is better asked then. */
static bool is_young(const struct rqs_seen_process *seen)
{
	struct timespec now;
	uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);

	clock_gettime(CLOCK_BOOTTIME, &now);
	uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	return now_ms < seen->start * 1000 / ticks + RQS_LOOK_MS;
}

/* It is recorded already, unless all of those who did were killed: then nobody else takes their hooks out. */
static int attach_instead(struct rqs_member *m, const struct rqs_attach_order *order)
{
	struct rqs_attachment found;

	if (rqs_is_recorded(order->pid) || rqs_detach_found(&found, order->pid))
		return -EBUSY;
	return rqs_attach(&m->attachment, order);
}

int rqs_family_attach(struct rqs_keeper *k, struct rqs_member *m)
{
	struct rqs_attach_order order = k->order;

	rqs_keeper_tell_busy(k, m);
	order.pid = m->seen.pid;
	int claim = rqs_claim(order.pid);
	int error = claim == -EBUSY ? claim : rqs_attach(&m->attachment, &order);
	if (claim >= 0 && error == -EBUSY)
		error = attach_instead(m, &order);
	if (claim >= 0)
		close(claim);
	else if (error == -EBUSY)
		snprintf(m->attachment.why, sizeof(m->attachment.why), "another one is about to record it");
	m->attached = !error;
	k->attached += !error;
	if (m->attachment.stopped_ns > k->stopped_ns)
		k->stopped_ns = m->attachment.stopped_ns;
	return error;
}

/* A child process that has joined by itself, or has ended since, is none that is missed. */
static void attach_child(struct rqs_keeper *k, struct rqs_member *m)
{
	int error = rqs_family_attach(k, m);

	if (error && error != -EBUSY && error != -ESRCH)
		rqs_keeper_tell_attaching(k, RQS_KEEPER_MISSED, m, error);
}

static void look_at(struct rqs_keeper *k, const struct rqs_seen_process *seen, bool attach)
{
	struct rqs_member *m = find_member(k, seen);
	bool changed = m && m->seen.image != seen->image;

	if (m)
		m->present = true;
	if (m && !changed)
		return;
	if (attach && seen->pid != k->order.pid && is_young(seen)) {
		k->postponed = true;
		return;
	}
	if (!m)
		m = rqs_family_add(k, seen);
	if (!m)
		return;
	m->seen = *seen;
	m->present = true;
	m->attached = m->detached = false;
	if (attach && (changed || seen->pid != k->order.pid))
		attach_child(k, m);
}

void rqs_family_look(struct rqs_keeper *k, bool attach)
{
	size_t count;

	k->postponed = false;
	struct rqs_seen_process *seen = rqs_descendants(k->order.pid, &count);

	for (size_t i = 0; i < k->count; i++)
		k->members[i]->present = false;
	for (size_t i = 0; i < count; i++)
		look_at(k, &seen[i], attach);
	free(seen);
	forget_dead(k);
}

/* ---- out ---- */

/* What is there may be another recording's by now. */
static int take_out(struct rqs_member *m)
{
	int claim = rqs_claim(m->seen.pid), error = 0;

	if (rqs_is_recorded(m->seen.pid))
		m->attachment.stopped_ns = 0;
	else if (m->attached && is_same_image(m))
		error = rqs_detach(&m->attachment);
	else
		error = rqs_detach_found(&m->attachment, m->seen.pid);
	if (claim >= 0)
		close(claim);
	return error;
}

static void detach_member(struct rqs_keeper *k, struct rqs_member *m)
{
	rqs_keeper_tell_busy(k, m);
	int error = take_out(m);

	m->attached = false;
	m->detached = true;
	k->end.processes++;
	if (m->attachment.stopped_ns > k->end.stopped_ns)
		k->end.stopped_ns = m->attachment.stopped_ns;
	/* What can't be hooked holds no hooks; nor does what has ended, or executed another program. */
	if (!error || error == -ENOEXEC || !lives(m) || !is_same_image(m) || k->end.error)
		return;
	k->end.error = error;
	k->end.pid = m->seen.pid;
	snprintf(k->end.why, sizeof(k->end.why), "%s", m->attachment.why);
}

bool rqs_family_detach(struct rqs_keeper *k)
{
	bool any = false;

	rqs_family_look(k, false);
	for (size_t i = 0; i < k->count; i++) {
		if (k->members[i]->detached)
			continue;
		detach_member(k, k->members[i]);
		any = true;
	}
	return any;
}
