/*
 * attach_go.c - the Go way: code is placed from outside, by calls of one
 * thread that is stopped; the others are stopped only while the program's text
 * changes.
 *
 * Nothing is remembered between attach and detach: what is placed is found
 * again in the process itself.
 */
#include "inject/attach.h"
#include "inject/install.h"
#include "inject/placed.h"
#include "os/join.h"
#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ENOUGH_FOR_GO (2ull << 30) /* as in os/reserve.c */
#define STOPPING_NS 200000000ull
#define BORROWING_NS 5000000000ull

struct work {
	struct rqs_attachment *attachment;
	struct rqs_plan plan;
	struct rqs_loadable payload;
	struct rqs_go_setup setup;
	struct rqs_install install;
	struct rqs_stopped thread; /* the one that is borrowed */
	struct rqs_tracee tracee;
	struct rqs_threads others;
	int file, memory; /* the program; /proc/PID/mem */
	bool idle; /* only a thread that waits is looked for */
	int error;
};

static int fail(struct rqs_attachment *attachment, int error, const char *why)
{
	snprintf(attachment->why, sizeof(attachment->why), "%s", why);
	return error;
}

/* ---- what it is ---- */

static int open_of(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool memory_is_scarce(pid_t pid)
{
	static const int resources[] = {RLIMIT_AS, RLIMIT_DATA};
	struct rlimit limit;

	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++)
		if (!rqs_sys4(SYS_prlimit64, pid, resources[i], NULL, &limit) && limit.rlim_cur < ENOUGH_FOR_GO)
			return true;
	return false;
}

static int prepare(struct work *w)
{
	struct rqs_attachment *attachment = w->attachment;

	w->file = open_of(attachment->pid, "exe");
	w->memory = open_of(attachment->pid, "mem");
	if (w->file < 0 || w->memory < 0)
		return fail(attachment, errno == ENOENT ? -ESRCH : -EPERM, "its memory may not be read");
	int error = rqs_plan_make(&w->plan, w->file);
	if (error)
		return fail(attachment, error, "its program can't be read");
	if (!w->plan.is_go || w->plan.why_not[0])
		return fail(attachment, -ENOEXEC, w->plan.is_go ? w->plan.why_not : "it isn't a Go program");
	if (rqs_loadable_make(&w->payload))
		return fail(attachment, -ENOEXEC, "there is nothing to place");
	if (!rqs_install_bias(attachment->pid, w->file, &w->install.bias))
		return fail(attachment, -ENOEXEC, "its start address isn't known");
	return 0;
}

static void fill_setup(struct work *w, const struct rqs_attach_order *order)
{
	w->setup.region = -1;
	w->setup.attached = true;
	w->setup.no_sched = order->no_sched;
	w->setup.measures = w->plan.measures & ~(order->no_sched ? RQS_MEASURES_SCHED : 0u);
	w->setup.curg_offset = w->plan.curg_offset;
	snprintf(w->setup.version, sizeof(w->setup.version), "%s", w->plan.version);
	snprintf(w->setup.program, sizeof(w->setup.program), "%s", order->children ? order->placer : "");
	snprintf(w->setup.token, sizeof(w->setup.token), "%s", order->token);
}

/* ---- a thread to borrow ---- */

static bool waits(pid_t pid, pid_t tid)
{
	char path[64], text[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)pid, (int)tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (fd >= 0)
		close(fd);
	return got > 0 && text[0] >= '0' && text[0] <= '9';
}

static struct rqs_change change_of(const struct work *w)
{
	uint64_t placed = rqs_placed_find(w->attachment->pid, w->memory, &w->payload);
	uint64_t size = w->payload.size + rqs_page_up(rqs_stubs_room(w->plan.site_count));

	return (struct rqs_change){.plan = &w->plan,
				   .bias = w->install.bias,
				   .memory = w->memory,
				   .placed = placed,
				   .placed_end = placed ? placed + size : 0};
}

/* Looks no further when this one is good, or there is no hope. */
static bool try_thread(void *data, pid_t tid)
{
	struct work *w = data;
	struct rqs_change change = change_of(w);

	if (w->idle && !waits(w->attachment->pid, tid))
		return true;
	int error = rqs_thread_stop(&w->thread, w->attachment->pid, tid, rqs_tracee_now_ns() + STOPPING_NS);
	if (error)
		return error != -EPERM || (w->error = error, false);
	if (rqs_go_thread_is_elsewhere(&w->thread, &change)) {
		w->error = 0;
		return false;
	}
	rqs_thread_release(&w->thread);
	return true;
}

static int borrow(struct work *w)
{
	struct rqs_attachment *attachment = w->attachment;

	w->error = -ETIMEDOUT;
	for (int n = 0; n < 20 && w->error == -ETIMEDOUT; n++) {
		w->idle = n % 2 == 0;
		rqs_threads_list(attachment->pid, try_thread, w);
		if (w->error == -ETIMEDOUT)
			usleep(1000);
	}
	if (w->error)
		return fail(attachment, w->error,
			    w->error == -EPERM ? "it may not be traced: ptrace is forbidden here, or somebody traces it already"
					       : "none of its threads could be stopped at a good point");
	w->thread.knows_eintr = true;
	w->others.but = w->thread.tid;
	w->others.pid = attachment->pid;
	int error = rqs_thread_borrow(&w->tracee, &w->thread, rqs_tracee_now_ns() + BORROWING_NS);
	w->install.tracee = &w->tracee;
	w->install.threads = &w->others;
	w->install.plan = &w->plan;
	w->install.file = w->file;
	w->install.payload = &w->payload;
	w->install.setup = &w->setup;
	return error ? fail(attachment, error, "its thread can't be used") : 0;
}

static void give_back(struct work *w)
{
	if (!w->thread.tid || w->error)
		return;
	rqs_thread_give_back(&w->tracee, &w->thread);
	rqs_thread_release(&w->thread);
	uint64_t alone = rqs_tracee_now_ns() - w->thread.since_ns;
	w->attachment->stopped_ns = alone > w->others.stopped_ns ? alone : w->others.stopped_ns;
}

/* ---- the way ---- */

static struct work *begin(struct rqs_attachment *attachment)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->attachment = attachment;
	w->file = w->memory = -1;
	return w;
}

static int end(struct work *w, int error)
{
	if (w->file >= 0)
		close(w->file);
	if (w->memory >= 0)
		close(w->memory);
	rqs_plan_free(&w->plan);
	rqs_loadable_free(&w->payload);
	free(w);
	return error;
}

static int result_of(struct work *w, bool done)
{
	if (w->tracee.gone)
		return fail(w->attachment, -ESRCH, "it has ended");
	return done ? 0 : fail(w->attachment, w->install.error ? w->install.error : -ENOEXEC, w->install.why);
}

static void tell_facts(struct work *w, const char *token)
{
	struct rqs_go_facts facts = rqs_facts_of(&w->plan.figures, w->install.bias);

	facts.version = RQS_REGION_VERSION;
	facts.pid = (uint32_t)w->attachment->pid;
	rqs_join_tell_facts(token, &facts, w->memory);
}

static int attach(struct rqs_attachment *attachment, const struct rqs_attach_order *order)
{
	struct work *w = begin(attachment);

	if (!w)
		return fail(attachment, -ENOMEM, "memory is short");
	int error = prepare(w);
	if (!error && memory_is_scarce(attachment->pid))
		error = fail(attachment, -ENOEXEC, "its memory is limited to less than 2 GiB");
	if (error)
		return end(w, error);
	fill_setup(w, order);
	error = borrow(w);
	if (!error)
		error = result_of(w, rqs_install(&w->install));
	give_back(w);
	if (!error)
		tell_facts(w, order->token);
	return end(w, error);
}

static bool is_placed(struct work *w)
{
	return rqs_placed_find(w->attachment->pid, w->memory, &w->payload) != 0;
}

static int detach(struct rqs_attachment *attachment)
{
	struct work *w = begin(attachment);

	if (!w)
		return fail(attachment, -ENOMEM, "memory is short");
	int error = prepare(w);
	/* Ended, or another program by now: nothing of ours is there. */
	if (error == -ESRCH || error == -ENOEXEC)
		return end(w, 0);
	if (error || !is_placed(w))
		return end(w, error);
	error = borrow(w);
	if (!error)
		error = result_of(w, rqs_uninstall(&w->install));
	give_back(w);
	return end(w, error == -ESRCH ? 0 : error);
}

const struct rqs_attach_way rqs_attach_go = {.attach = attach, .detach = detach, .detach_found = detach};
