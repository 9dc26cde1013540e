/* tracer.c - see tracer.h. */
#include "inject/tracer.h"

#include "inject/install.h"
#include "inject/privileges.h"
#include "os/join.h"
#include "os/reserve.h"
#include "os/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* For the work at the exec, which takes some ms. */
#define WORK_NS 3000000000ull

struct tracer {
	struct rqs_tracer_order order;
	struct rqs_plan plan;
	struct rqs_loadable payload;
	struct rqs_go_setup setup;
	struct rqs_tracee tracee;
	int channel;
	int file; /* the program */
	bool exec_is_next;
};

/* ---- becoming nobody's ---- */

static void close_between(long first, long last)
{
	struct rlimit limit;

	if (first > last || rqs_sys3(SYS_close_range, first, last, 0) == 0 || getrlimit(RLIMIT_NOFILE, &limit))
		return;
	for (long fd = first; fd <= last && fd < (long)limit.rlim_cur; fd++) /* before Linux 5.9 */
		close((int)fd);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Whoever reads a pipe that the program writes must see its end when the program ends, and not wait for us. */
static void close_all_but(int *kept, size_t count)
{
	long next = 0;

	qsort(kept, count, sizeof(*kept), compare);
	for (size_t i = 0; i < count; i++) {
		close_between(next, kept[i] - 1L);
		next = kept[i] + 1L;
	}
	close_between(next, INT32_MAX);
}

/* ---- talking ---- */

static bool say(const struct tracer *t, int word)
{
	return send(t->channel, &word, sizeof(word), MSG_NOSIGNAL) == (ssize_t)sizeof(word);
}

/* What the process says; 0 when it is silent, or its end is closed. */
static int hear(const struct tracer *t, int patience_ms, bool *closed)
{
	struct pollfd fd = {.fd = t->channel, .events = POLLIN};
	int word = 0;

	*closed = false;
	if (poll(&fd, 1, patience_ms) <= 0)
		return 0;
	ssize_t got = recv(fd.fd, &word, sizeof(word), MSG_DONTWAIT);
	*closed = got == 0;
	return got == (ssize_t)sizeof(word) ? word : 0;
}

/* Counts the program as one that runs unhooked, and tells why. */
static void give_up(const struct tracer *t, const char *why)
{
	struct rqs_region_header *header =
	    mmap(NULL, sizeof(*header), PROT_READ | PROT_WRITE, MAP_SHARED, t->order.region, 0);

	if (header != MAP_FAILED)
		__atomic_add_fetch(&header->unplaced, 1, __ATOMIC_RELAXED);
	if (t->order.why >= 0 && write(t->order.why, why, strlen(why)) < 0) {
		/* Nobody listens any more. */
	}
}

/* ---- before the exec ---- */

/* -1 where it can't be read; the kernel says what is wrong with those. A pipe or a device isn't opened. */
static int open_program(const char *path)
{
	struct stat about;

	if (stat(path, &about) || !S_ISREG(about.st_mode))
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

static bool take_order(struct tracer *t)
{
	if (recv(t->channel, &t->order, sizeof(t->order), MSG_DONTWAIT) != (ssize_t)sizeof(t->order))
		return false;
	/* It may be one of the descriptors that are closed then. */
	t->file = open_program(t->order.path);

	int kept[] = {t->channel, t->order.region, t->order.why, t->file};
	close_all_but(kept, sizeof(kept) / sizeof(kept[0]));
	setsid();
	return true;
}

static void fill_setup(struct tracer *t)
{
	const struct rqs_tracer_order *order = &t->order;

	t->setup.region = order->region;
	t->setup.region_size = order->region_size;
	t->setup.foreign_pids = order->foreign_pids;
	t->setup.no_sched = order->no_sched;
	t->setup.measures = t->plan.measures & ~(order->no_sched ? RQS_MEASURES_SCHED : 0u);
	t->setup.curg_offset = t->plan.curg_offset;
	snprintf(t->setup.version, sizeof(t->setup.version), "%s", t->plan.version);
	snprintf(t->setup.program, sizeof(t->setup.program), "%s", order->program);
	snprintf(t->setup.token, sizeof(t->setup.token), "%s", order->token);
}

/* True: the program is to be hooked, and all is ready for it. */
static bool prepare(struct tracer *t)
{
	const char *why;

	if (t->file < 0 || rqs_plan_make(&t->plan, t->file) || !t->plan.is_go || t->plan.dynamic)
		return false;
	why = t->plan.why_not[0] ? t->plan.why_not : rqs_privileges_raised(t->file);
	if (!why && rqs_reserve_is_scarce_for_go())
		why = "its memory is limited to less than 2 GiB";
	if (!why && rqs_loadable_make(&t->payload))
		why = "there is nothing to place";
	if (why) {
		give_up(t, why);
		return false;
	}
	fill_setup(t);
	return true;
}

static bool attach(struct tracer *t)
{
	bool closed;

	/* One that has lost patience has told so itself. */
	if (!say(t, getpid()) || hear(t, RQS_TRACER_PATIENCE_MS, &closed) != RQS_TRACER_MAY_ATTACH)
		return false;
	int error = rqs_tracee_seize(&t->tracee, t->order.pid);
	if (error == -EPERM)
		give_up(t, "it may not be traced: ptrace is forbidden here, or somebody traces it already");
	else if (error)
		give_up(t, "it can't be traced");
	return !error && say(t, RQS_TRACER_ATTACHED);
}

/* What was said before the exec, and not yet heard. */
static void hear_out(struct tracer *t)
{
	bool closed;
	int word;

	while ((word = hear(t, 0, &closed)))
		t->exec_is_next |= word == RQS_TRACER_EXEC_NEXT;
}

/* True: the process has become the program, and is stopped. */
static bool await_exec(struct tracer *t)
{
	int channel = t->channel;
	bool closed;

	for (;;) {
		switch (rqs_tracee_await(&t->tracee, channel)) {
		case RQS_TRACEE_EXECED:
			hear_out(t);
			return true;
		case RQS_TRACEE_GONE:
			return false;
		case RQS_TRACEE_SPOKE:
			break;
		}
		int word = hear(t, 0, &closed);
		if (closed)
			channel = -1; /* in the midst of the exec, which closes it */
		t->exec_is_next |= word == RQS_TRACER_EXEC_NEXT;
		if (word == RQS_TRACER_LET_GO) {
			rqs_tracee_let_go(&t->tracee);
			say(t, RQS_TRACER_LET_GO);
			return false;
		}
	}
}

/* ---- what the collector is told ---- */

static void tell_facts(const struct tracer *t, uint64_t bias, int memory)
{
	struct rqs_go_facts facts = rqs_facts_of(&t->plan.figures, bias);

	facts.version = RQS_REGION_VERSION;
	facts.pid = (uint32_t)t->order.pid;
	rqs_join_tell_facts(t->order.token, &facts, memory);
}

/* ---- at the exec ---- */

static int open_memory(const struct tracer *t)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)t->order.pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void work(struct tracer *t)
{
	struct rqs_install install = {
	    .tracee = &t->tracee, .plan = &t->plan, .file = t->file, .payload = &t->payload, .setup = &t->setup};
	int error = rqs_tracee_take(&t->tracee, WORK_NS), memory = -1;
	bool installed = !error && rqs_install(&install);

	if (error)
		snprintf(install.why, sizeof(install.why), "it can't be traced: %s", strerror(-error));
	if (installed)
		memory = open_memory(t);
	rqs_tracee_release(&t->tracee);
	/* One that was killed meanwhile runs neither way. */
	if (!installed && !t->tracee.gone)
		give_up(t, install.why);
	else if (memory >= 0)
		tell_facts(t, install.bias, memory);
}

void rqs_tracer_live(int channel)
{
	struct tracer *t = calloc(1, sizeof(*t));

	if (!t)
		return;
	t->channel = channel;
	if (!take_order(t) || !prepare(t) || !attach(t))
		say(t, RQS_TRACER_DONE);
	else if (await_exec(t) && t->exec_is_next)
		work(t);
	/* What is still traced goes on when we end. */
	rqs_plan_free(&t->plan);
	rqs_loadable_free(&t->payload);
	free(t);
}
