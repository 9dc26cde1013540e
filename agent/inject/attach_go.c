/*
 * attach_go.c - the Go way: code is placed from outside (install_running.c);
 * threads are stopped only while the program's text changes.
 *
 * Nothing is remembered between attach and detach: what is placed is found
 * again in the process itself.
 */
#include "inject/attach.h"
#include "inject/install.h"
#include "os/join.h"
#include "os/sys.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ENOUGH_FOR_GO (2ull << 30) /* as in os/reserve.c */
#define FIRST (-20)                /* of priorities */
#define IMAGE 64

struct work {
	struct rqs_attachment *attachment;
	struct rqs_plan plan;
	struct rqs_loadable payload;
	struct rqs_go_setup setup;
	struct rqs_visitor visitor;
	struct rqs_install install;
	int file;     /* the program */
	int priority; /* our own before */
	/* What the process was when we began: with the next program that it executes some of these addresses are
	 * others. */
	Elf64_auxv_t image[IMAGE];
};

static int fail(struct rqs_attachment *attachment, int error, const char *why)
{
	snprintf(attachment->why, sizeof(attachment->why), "%s", why);
	return error;
}

/* ---- what it is ---- */

static int open_of(pid_t pid, const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return open(path, flags | O_CLOEXEC);
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

static int open_process(struct work *w)
{
	struct rqs_attachment *attachment = w->attachment;

	w->file = open_of(attachment->pid, "exe", O_RDONLY);
	w->visitor.tracee.memory = open_of(attachment->pid, "mem", O_RDWR);
	if (w->file >= 0 && w->visitor.tracee.memory >= 0)
		return 0;
	return errno == ENOENT || errno == ESRCH
		   ? fail(attachment, -ESRCH, "there is no such process")
		   : fail(attachment, -EPERM, "its memory may not be written to: ptrace is forbidden here");
}

static int prepare(struct work *w)
{
	struct rqs_attachment *attachment = w->attachment;
	int error = open_process(w);

	if (error)
		return error;
	error = rqs_plan_make(&w->plan, w->file);
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

/* What a thread of ours needs to come there. */
static int prepare_visitor(struct work *w)
{
	const struct rqs_plan *plan = &w->plan;
	uint64_t bias = w->install.bias;

	w->visitor.pid = w->attachment->pid;
	w->visitor.syscall_instruction = plan->syscall_instruction + bias;
	w->visitor.sigreturn =
	    rqs_go_find_sigreturn(w->visitor.tracee.memory, plan->text_start + bias, plan->text_end + bias);
	w->install.tracee = &w->visitor.tracee;
	w->install.visitor = &w->visitor;
	w->install.plan = plan;
	w->install.file = w->file;
	w->install.payload = &w->payload;
	w->install.setup = &w->setup;
	return w->visitor.sigreturn ? 0 : fail(w->attachment, -ENOEXEC, "its runtime has no end of a signal's handler");
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

/* ---- the way ---- */

static void see_image(pid_t pid, Elf64_auxv_t image[IMAGE])
{
	int file = open_of(pid, "auxv", O_RDONLY);

	memset(image, 0, IMAGE * sizeof(*image));
	if (file < 0)
		return;
	if (read(file, image, IMAGE * sizeof(*image)) < 0)
		memset(image, 0, IMAGE * sizeof(*image));
	close(file);
}

static bool is_same_image(const struct work *w)
{
	Elf64_auxv_t now[IMAGE];

	see_image(w->attachment->pid, now);
	return !memcmp(now, w->image, sizeof(now));
}

/* Threads that are stopped shouldn't wait for our turn, where we may have that. */
static void hurry(struct work *w)
{
	w->priority = getpriority(PRIO_PROCESS, 0);
	setpriority(PRIO_PROCESS, 0, FIRST);
}

static struct work *begin(struct rqs_attachment *attachment)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->attachment = attachment;
	w->file = w->visitor.tracee.memory = w->visitor.tracee.stops = -1;
	see_image(attachment->pid, w->image);
	hurry(w);
	return w;
}

static int end(struct work *w, int error)
{
	if (error && !is_same_image(w))
		error = fail(w->attachment, -ESRCH, "it has ended, or executed another program");
	setpriority(PRIO_PROCESS, 0, w->priority);
	if (w->file >= 0)
		close(w->file);
	if (w->visitor.tracee.memory >= 0)
		close(w->visitor.tracee.memory);
	rqs_plan_free(&w->plan);
	rqs_loadable_free(&w->payload);
	free(w);
	return error;
}

static int result_of(struct work *w, bool done)
{
	w->attachment->stopped_ns = w->install.stopped_ns;
	if (done)
		return 0;
	return fail(w->attachment, w->install.error ? w->install.error : -ENOEXEC, w->install.why);
}

static void tell_facts(struct work *w, const char *token)
{
	struct rqs_go_facts facts = rqs_facts_of(&w->plan.figures, w->install.bias);
	int memory = open_of(w->attachment->pid, "mem", O_RDONLY);

	facts.version = RQS_REGION_VERSION;
	facts.pid = (uint32_t)w->attachment->pid;
	if (memory >= 0) {
		rqs_join_tell_facts(token, &facts, memory);
		close(memory);
	}
}

static int attach(struct rqs_attachment *attachment, const struct rqs_attach_order *order)
{
	struct work *w = begin(attachment);

	if (!w)
		return fail(attachment, -ENOMEM, "memory is short");
	int error = prepare(w);
	if (!error && memory_is_scarce(attachment->pid))
		error = fail(attachment, -ENOEXEC, "its memory is limited to less than 2 GiB");
	if (!error)
		error = prepare_visitor(w);
	if (error)
		return end(w, error);
	fill_setup(w, order);
	error = result_of(w, rqs_install_running(&w->install));
	if (!error)
		tell_facts(w, order->token);
	return end(w, error);
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
	if (!error)
		error = prepare_visitor(w);
	if (!error)
		error = result_of(w, rqs_uninstall_running(&w->install));
	error = end(w, error);
	return error == -ESRCH ? 0 : error;
}

const struct rqs_attach_way rqs_attach_go = {.attach = attach, .detach = detach, .detach_found = detach};
