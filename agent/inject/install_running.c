/*
 * install_running.c - the hooks of a Go program that runs; see install.h.
 *
 * What can be done without its threads is done before one is stopped. Then one
 * is borrowed for as long as it takes to start ours (visitor.h), which does
 * the rest; and all are stopped for the moment in which the jumps are written.
 *
 * The code stays for ever, as a thread may be anywhere; the next time it is
 * found again and used. What begins the mapping is written last: half of it is
 * never found.
 */
#include "inject/running.h"

#include "inject/filter.h"
#include "inject/mappings.h"
#include "inject/placed.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define JUMP 0xe9
#define ENTERING_TRIES 3
#define PAUSE_NS 2000000l /* between two tries */
#define STOPPING_ALL_NS 4000000000ull
#define RELEASING_TRIES 200
/* Errors that no call of ours has. */
#define FILTER_UNKNOWN (-ENODATA)
#define FILTER_FORBIDS (-EOPNOTSUPP)

/* ---- before a thread is stopped: where ---- */

struct room {
	uint64_t start, end;
};

static bool overlaps(const struct rqs_mapping *mapping, void *context)
{
	const struct room *room = context;

	return mapping->start < room->end && room->start < mapping->end;
}

static bool choose_room(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;

	for (unsigned n = 0; n < RQS_WORK_CANDIDATES; n++) {
		uint64_t at = rqs_work_candidate(w, n);
		struct room room = {at, at + w->size};

		if (!at || rqs_each_mapping(r->visitor->pid, overlaps, &room))
			continue;
		w->base = at;
		return true;
	}
	return rqs_work_fail(w->in, "there is no room for the hooks within reach of its code");
}

static uint64_t stack_end(const struct rqs_running *r)
{
	return r->work.base + r->work.in->payload->stack_end;
}

static uint64_t leave_code(const struct rqs_running *r)
{
	return r->work.base + r->work.in->payload->leave;
}

/* Everything that depends on the address. */
static bool build(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;

	w->in->setup->entry = leave_code(r);
	w->in->setup->stack = stack_end(r);
	rqs_loadable_relocate(w->in->payload, w->base);
	return rqs_work_build(w);
}

static bool write_setup(struct rqs_work *w)
{
	return rqs_tracee_write(w->tracee, w->base + w->in->payload->setup, w->in->setup, sizeof(*w->in->setup));
}

/* What is there from before: code, and data that are to be as at the start. */
static bool write_again(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;
	const struct rqs_loadable *payload = w->in->payload;
	uint8_t *now = malloc(w->stubs_size);
	bool written = true;

	r->same_stubs = now && rqs_tracee_read(w->tracee, w->base + payload->size, now, w->stubs_size) &&
			!memcmp(now, w->stubs, w->stubs_size);
	free(now);
	for (size_t i = 0; written && i < payload->segment_count; i++)
		if (payload->segments[i].protection & PROT_WRITE)
			written =
			    rqs_tracee_write(w->tracee, w->base + payload->segments[i].offset,
					     payload->bytes + payload->segments[i].offset, payload->segments[i].size);
	return (written && write_setup(w)) || rqs_work_fail(w->in, "its memory can't be written");
}

/* ---- whose hooks are there ---- */

static bool has_jump(struct rqs_work *w)
{
	uint8_t first;

	for (size_t i = 0; i < w->in->plan->site_count; i++) {
		const struct rqs_site *site = &w->in->plan->sites[i];

		if (site->code[0] != JUMP &&
		    rqs_tracee_read(w->tracee, site->address + w->in->bias, &first, sizeof(first)) && first == JUMP)
			return true;
	}
	return false;
}

static bool is_library(const struct rqs_mapping *mapping, void *context)
{
	(void)context;
	return strstr(mapping->path, "/libreqscope") != NULL;
}

/* Its text isn't the file's: by the same payload, or the one in the preloaded library, or another. */
static bool tell_why_changed(struct rqs_running *r)
{
	if (!has_jump(&r->work))
		return false;
	return rqs_running_fails(r, -EBUSY,
				 r->work.reused || rqs_each_mapping(r->visitor->pid, is_library, NULL)
				     ? "it is recorded already"
				     : "another build of reqscope has its hooks in it: end that recording first");
}

static bool prepare(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;

	w->base = rqs_placed_find(r->visitor->pid, w->tracee->memory, w->in->payload);
	w->reused = w->base != 0;
	if (!rqs_work_look(w))
		return tell_why_changed(r);
	if (!w->reused && !choose_room(r))
		return false;
	return build(r) && (!w->reused || write_again(r));
}

/* ---- our thread comes ---- */

static bool is_good(const void *context, struct rqs_stopped *thread)
{
	rqs_go_thread_knows_eintr(thread, context);
	return rqs_go_thread_is_elsewhere(thread, context);
}

/* Room, and in it the code that our thread ends with. */
static int map_room(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;
	struct rqs_tracee *t = &r->visitor->borrowed;
	const struct rqs_loadable *payload = w->in->payload;
	long got = rqs_tracee_call(t, SYS_mmap, w->base, w->size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);

	if (got < 0)
		return (int)got;
	if ((uint64_t)got != w->base) { /* before Linux 4.17 it was a mere hint */
		rqs_tracee_call(t, SYS_munmap, (uint64_t)got, w->size, 0, 0, 0, 0);
		return -EEXIST;
	}
	for (size_t i = 0; i < payload->segment_count; i++) {
		uint64_t at = payload->segments[i].offset;

		if (!(payload->segments[i].protection & PROT_EXEC))
			continue;
		if (!rqs_tracee_write(t, w->base + at, payload->bytes + at, payload->segments[i].filled))
			return -EIO;
		long error = rqs_tracee_call(t, SYS_mprotect, w->base + at, payload->segments[i].size,
					     (uint64_t)payload->segments[i].protection, 0, 0, 0);
		if (error)
			return error == -EPERM ? -EACCES : (int)error;
	}
	return 0;
}

/* What is called before a child of it can try the others. */
static int look_at_filter(struct rqs_running *r)
{
	static const short calls[] = {SYS_mmap,  SYS_mprotect, SYS_munmap, SYS_clone, SYS_rt_sigreturn,
				      SYS_prctl, SYS_wait4,    SYS_exit,   -1};
	pid_t pid = r->visitor->pid;
	bool unknown;

	if (rqs_filter_allows(pid, r->visitor->borrowed.pid, calls, &unknown))
		return 0;
	r->forbidden = true;
	return unknown ? FILTER_UNKNOWN : FILTER_FORBIDS;
}

static int enter_once(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;
	struct rqs_change change = rqs_running_change(r);

	r->visitor->is_good = is_good;
	r->visitor->context = &change;
	int error = rqs_visitor_borrow(r->visitor);
	if (error)
		return error;
	error = look_at_filter(r);
	if (error) {
		rqs_visitor_give_back(r->visitor);
		return error;
	}
	if (!w->reused)
		error = map_room(r);
	if (!error)
		error = rqs_visitor_enter(r->visitor, leave_code(r), stack_end(r));
	if (error && error != -EEXIST && !w->reused && !r->visitor->begun)
		rqs_tracee_call(&r->visitor->borrowed, SYS_munmap, w->base, w->size, 0, 0, 0, 0);
	rqs_visitor_give_back(r->visitor);
	r->threads.but = r->visitor->tracee.pid;
	return error;
}

static bool tell_why_not_entered(struct rqs_running *r, int error)
{
	switch (error) {
	case -EPERM:
		return rqs_running_fails(
		    r, error, "it may not be traced: ptrace is forbidden here, or somebody traces it already");
	case -ESRCH:
		return rqs_running_fails(r, error, "it has ended, or executed another program");
	case -ETIMEDOUT:
		return rqs_running_fails(r, error, "none of its threads could be stopped at a good point");
	case -EAGAIN:
		return rqs_running_fails(r, error, "it may start no more threads");
	case -EACCES:
		return rqs_running_fails(r, -ENOEXEC, "it may make no memory executable");
	case FILTER_UNKNOWN:
		return rqs_running_fails(r, -EPERM, "it has a seccomp filter, which only root can look at");
	case FILTER_FORBIDS:
		return rqs_running_fails(r, -ENOEXEC, "its seccomp filter forbids what placing code takes");
	default:
		r->work.in->error = error;
		return rqs_work_fail(r->work.in, "there is no room for the hooks: %s", strerror(-error));
	}
}

static bool enter(struct rqs_running *r)
{
	struct timespec moment = {.tv_nsec = PAUSE_NS};
	int error = enter_once(r);

	for (int n = 0; (error == -EEXIST || error == -EAGAIN) && n < ENTERING_TRIES; n++) {
		if (error == -EAGAIN)
			nanosleep(&moment, NULL);      /* as when another thread of it executes a program */
		else if (!choose_room(r) || !build(r)) /* somebody was faster there */
			return false;
		error = enter_once(r);
	}
	return !error || tell_why_not_entered(r, error);
}

/* ---- what our thread does ---- */

static bool protect_stubs(struct rqs_work *w, int protection)
{
	return !rqs_tracee_call(w->tracee, SYS_mprotect, w->base + w->in->payload->size, w->stubs_size,
				(uint64_t)protection, 0, 0, 0);
}

static bool write_stubs(struct rqs_work *w)
{
	return rqs_tracee_write(w->tracee, w->base + w->in->payload->size, w->stubs, w->stubs_size);
}

/* But for the code, which is there. */
static bool write_first(struct rqs_work *w)
{
	const struct rqs_loadable *payload = w->in->payload;

	for (size_t i = payload->segment_count; i-- > 0;) {
		uint64_t at = payload->segments[i].offset;

		/* The first one tells that all is there. */
		if (!i && (!write_setup(w) || !write_stubs(w)))
			return false;
		if (!(payload->segments[i].protection & PROT_EXEC) &&
		    !rqs_tracee_write(w->tracee, w->base + at, payload->bytes + at, payload->segments[i].filled))
			return false;
	}
	return true;
}

static bool write_all(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;
	bool written =
	    w->reused ? r->same_stubs || (protect_stubs(w, PROT_READ | PROT_WRITE) && write_stubs(w)) : write_first(w);

	return written || rqs_work_fail(w->in, "its memory can't be written");
}

/* ---- in and out ---- */

static bool open_running(struct rqs_running *r, struct rqs_install *in)
{
	*r = (struct rqs_running){.visitor = in->visitor, .deadline_ns = rqs_tracee_now_ns() + STOPPING_ALL_NS};
	return rqs_work_open(&r->work, in);
}

/* Whatever failed, if our thread is no more, that is why. */
static void close_running(struct rqs_running *r, bool done)
{
	if (!done && r->visitor->tracee.pid && !rqs_visitor_is_there(r->visitor))
		tell_why_not_entered(r, -ESRCH);
	rqs_visitor_leave(r->visitor);
	r->work.in->stopped_ns = r->visitor->stopped_ns + r->threads.stopped_ns;
	rqs_work_close(&r->work);
}

/* A child of vfork may be in a hook: then in a moment. */
static bool give_memory_back(struct rqs_running *r)
{
	struct timespec moment = {.tv_nsec = PAUSE_NS};
	bool done = false, came_back = true;

	for (int n = 0; came_back && !done && n < RELEASING_TRIES; n++) {
		if (n)
			nanosleep(&moment, NULL);
		came_back = rqs_work_end(&r->work, stack_end(r), &done);
	}
	return done || rqs_running_fails(r, -EBUSY, "its memory is in use");
}

static bool install(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;
	bool ignored;

	if (!prepare(r) || !enter(r) || !write_all(r) || !rqs_work_protect(w) || !rqs_work_begin(w, stack_end(r)))
		return false;
	if (rqs_running_patch(r))
		return true;
	rqs_work_end(w, stack_end(r), &ignored);
	return false;
}

bool rqs_install_running(struct rqs_install *in)
{
	struct rqs_running r;
	bool installed = open_running(&r, in) && install(&r);

	close_running(&r, installed);
	return installed;
}

static bool uninstall(struct rqs_running *r)
{
	struct rqs_work *w = &r->work;

	w->base = rqs_placed_find(r->visitor->pid, w->tracee->memory, w->in->payload);
	w->reused = w->base != 0;
	if (!w->base)
		return !has_jump(w) || tell_why_changed(r);
	w->in->setup->measures = ~0u; /* whatever was chosen */
	if (!build(r))
		return false;
	/* Where our thread goes on if we are killed. */
	if (!rqs_tracee_write(w->tracee, w->base + w->in->payload->setup, w->in->setup,
			      offsetof(struct rqs_go_setup, region)))
		return rqs_work_fail(w->in, "its memory can't be written");
	r->alone = !enter(r);
	/* It may start no more threads: the hooks are what matters. */
	if (r->alone && (r->forbidden || w->in->error == -EAGAIN))
		return rqs_running_unpatch(r) &&
		       rqs_running_fails(r, -EAGAIN,
					 "its hooks are out, but it may start no thread to give memory back");
	return !r->alone && rqs_running_unpatch(r) && give_memory_back(r);
}

bool rqs_uninstall_running(struct rqs_install *in)
{
	struct rqs_running r;
	bool done = open_running(&r, in) && uninstall(&r);

	close_running(&r, done);
	return done;
}
