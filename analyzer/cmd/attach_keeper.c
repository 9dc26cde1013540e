/* attach_keeper.c - the hidden command `attach-keeper`: attaches, waits, and detaches (keeper.h). */
#include "cmd/claim.h"
#include "cmd/command.h"
#include "cmd/descendants.h"
#include "cmd/keeper.h"
#include "cmd/siblings.h"
#include "collect/keeper_words.h"
#include "inject/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* With --children a program is to be found soon; else descendants only have to be known when their parent ends. */
#define LOOK_MS 200
#define LOOK_SELDOM_MS 1000
/* The collector ends within 100 ms, unless it hangs: then the target comes first. */
#define COLLECTOR_PATIENCE_MS 10000
/* Forked while others were detached from. */
#define ROUNDS 5

static const char usage[] = "usage: reqscope attach-keeper --pid PID --token T --channel N --collector-fd N [OPTIONS]\n"
			    "\n"
			    "Started by `reqscope attach`, and outlives it as long as it takes to detach;\n"
			    "there is no need to call it.\n";

enum option_id {
	OPT_PID = 1,
	OPT_TOKEN,
	OPT_CHANNEL,
	OPT_COLLECTOR,
	OPT_STOP,
	OPT_CHILDREN,
	OPT_NO_SCHED,
	OPT_DETACH_ONLY,
	OPT_HELP,
};

static const struct option long_options[] = {
    {"pid", required_argument, NULL, OPT_PID},
    {"token", required_argument, NULL, OPT_TOKEN},
    {"channel", required_argument, NULL, OPT_CHANNEL},
    {"collector-fd", required_argument, NULL, OPT_COLLECTOR},
    {"stop-fd", required_argument, NULL, OPT_STOP},
    {"children", no_argument, NULL, OPT_CHILDREN},
    {"no-sched", no_argument, NULL, OPT_NO_SCHED},
    {"detach-only", no_argument, NULL, OPT_DETACH_ONLY},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* A process of the family. */
struct member {
	struct rqs_seen_process seen; /* when it was looked at */
	bool attached, detached, present;
	struct rqs_attachment attachment;
};

struct keeper {
	struct rqs_attach_order order;
	char library[PATH_MAX], musl_library[PATH_MAX];
	struct rqs_siblings siblings;
	int channel, collector, stop;
	bool detach_only;
	bool postponed; /* in the last look one was too young */
	struct member **members;
	size_t count, room;
	uint32_t attached;
	uint64_t stopped_ns; /* the longest, of all that were attached to */
	struct rqs_keeper_word end;
};

/* What is said */

static void tell(const struct keeper *k, const struct rqs_keeper_word *word)
{
	if (send(k->channel, word, sizeof(*word), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		/* The one who attached was killed, or is stopped and has heard much. */
	}
}

static void tell_attaching(const struct keeper *k, enum rqs_keeper_event event, const struct member *m, int error)
{
	struct rqs_keeper_word word = {
	    .event = event,
	    .error = error,
	    .pid = m->seen.pid,
	    .processes = k->attached,
	    .stopped_ns = k->stopped_ns,
	};

	snprintf(word.why, sizeof(word.why), "%s", m->attachment.why);
	tell(k, &word);
}

static void tell_busy(const struct keeper *k, const struct member *m)
{
	const struct rqs_keeper_word word = {.event = RQS_KEEPER_BUSY, .pid = m->seen.pid};

	tell(k, &word);
}

static void tell_collector(const struct keeper *k, enum rqs_attach_event event, uint32_t processes, uint64_t stopped_ns)
{
	struct rqs_attach_word word = {.event = event, .processes = processes, .stopped_ns = stopped_ns};

	if (k->stop >= 0 && send(k->stop, &word, sizeof(word), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		/* It was killed. */
	}
}

/* The family */

static struct member *find_member(const struct keeper *k, const struct rqs_seen_process *seen)
{
	for (size_t i = 0; i < k->count; i++)
		if (k->members[i]->seen.pid == seen->pid && k->members[i]->seen.start == seen->start)
			return k->members[i];
	return NULL;
}

static struct member *add_member(struct keeper *k, const struct rqs_seen_process *seen)
{
	struct member *m = calloc(1, sizeof(*m));

	if (m && k->count == k->room) {
		size_t room = k->room ? 2 * k->room : 16;
		struct member **members = realloc(k->members, room * sizeof(*members));

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
static bool is_same_image(const struct member *m)
{
	struct rqs_seen_process now;

	return rqs_process_see(m->seen.pid, &now) && now.start == m->seen.start && now.image == m->seen.image;
}

static bool lives(const struct member *m)
{
	struct rqs_seen_process now;

	return rqs_process_see(m->seen.pid, &now) && now.start == m->seen.start && now.state != 'Z' && now.state != 'X';
}

static void forget_dead(struct keeper *k)
{
	size_t kept = 0;

	for (size_t i = 0; i < k->count; i++) {
		struct member *m = k->members[i];

		if (m->present || lives(m)) {
			k->members[kept++] = m;
			continue;
		}
		if (m->attached)
			rqs_detach(&m->attachment);
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
	return now_ms < seen->start * 1000 / ticks + LOOK_MS;
}

/* It is recorded already, unless all of those who did were killed: then nobody else takes their hooks out. */
static int attach_instead(struct member *m, const struct rqs_attach_order *order)
{
	struct rqs_attachment found;

	if (rqs_is_recorded(order->pid) || rqs_detach_found(&found, order->pid))
		return -EBUSY;
	return rqs_attach(&m->attachment, order);
}

static int attach_member(struct keeper *k, struct member *m)
{
	struct rqs_attach_order order = k->order;

	tell_busy(k, m);
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
static void attach_child(struct keeper *k, struct member *m)
{
	int error = attach_member(k, m);

	if (error && error != -EBUSY && error != -ESRCH)
		tell_attaching(k, RQS_KEEPER_MISSED, m, error);
}

static void look_at(struct keeper *k, const struct rqs_seen_process *seen, bool attach)
{
	struct member *m = find_member(k, seen);
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
		m = add_member(k, seen);
	if (!m)
		return;
	m->seen = *seen;
	m->present = true;
	m->attached = m->detached = false;
	if (attach && (changed || seen->pid != k->order.pid))
		attach_child(k, m);
}

/* At who is there now; who is new is attached to, if so wanted. */
static void look(struct keeper *k, bool attach)
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

/* Life */

/* Those that are too young now are none that come later. */
static void look_first(struct keeper *k)
{
	const struct timespec pause_ = {.tv_nsec = LOOK_MS * 1000000 / ROUNDS};

	look(k, k->order.children);
	for (int i = 0; i < ROUNDS && k->postponed; i++) {
		nanosleep(&pause_, NULL);
		look(k, true);
	}
}

static bool begin(struct keeper *k)
{
	struct rqs_seen_process seen = {.pid = k->order.pid};

	rqs_process_see(k->order.pid, &seen);
	struct member *m = add_member(k, &seen);
	if (!m)
		return false;
	int error = attach_member(k, m);
	if (!error || k->order.children)
		look_first(k);
	if (k->attached)
		tell_collector(k, RQS_ATTACH_BEGUN, k->attached, k->stopped_ns);
	tell_attaching(k, RQS_KEEPER_ATTACHED, m, k->attached ? 0 : error);
	return k->attached;
}

/* Until one of the three has ended. */
static void wait_for_end(struct keeper *k)
{
	struct pollfd ends[2] = {{.fd = k->channel, .events = POLLIN}, {.fd = k->stop, .events = POLLIN}};
	int pause = k->order.children ? LOOK_MS : LOOK_SELDOM_MS;

	while (poll(ends, 2, pause) <= 0)
		look(k, k->order.children);
}

/* Until it reads no more, or, after a keeper that was killed, has ended. */
static void stop_collector(struct keeper *k)
{
	struct pollfd end = {.fd = k->detach_only ? k->collector : k->stop, .events = k->detach_only ? 0 : POLLIN};

	char word;

	tell_collector(k, RQS_ATTACH_STOP, 0, 0);
	/* What isn't read when we end would take from it what we say. */
	if (poll(&end, 1, COLLECTOR_PATIENCE_MS) == 1 && !k->detach_only &&
	    recv(k->stop, &word, 1, MSG_DONTWAIT) != 1) {
		/* It was killed. */
	}
}

/* What is there may be another recording's by now. */
static int take_out(struct member *m)
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

static void detach_member(struct keeper *k, struct member *m)
{
	tell_busy(k, m);
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

/* False: there was none left. */
static bool detach_all(struct keeper *k)
{
	bool any = false;

	look(k, false);
	for (size_t i = 0; i < k->count; i++) {
		if (k->members[i]->detached)
			continue;
		detach_member(k, k->members[i]);
		any = true;
	}
	return any;
}

/* Where nothing was attached to, nothing is to be taken out: what is there is of another recording. */
static void live(struct keeper *k)
{
	bool has_begun = k->detach_only || begin(k);

	if (has_begun && !k->detach_only)
		wait_for_end(k);
	stop_collector(k);
	for (int i = 0; has_begun && i < ROUNDS && detach_all(k); i++)
		;
	tell_collector(k, RQS_ATTACH_OVER, k->end.processes, k->end.stopped_ns);
	k->end.event = RQS_KEEPER_DETACHED;
	tell(k, &k->end);
}

/* Setting up */

static void go_to_background(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t all;

	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int i = 0; null >= 0 && i < 3; i++)
		dup2(null, i);
	if (chdir("/")) {
		/* Then we stay where we are. */
	}
}

static void find_files(struct keeper *k)
{
	rqs_siblings_find(&k->siblings);
	rqs_siblings_library(RQS_LIBRARY, k->library);
	rqs_siblings_library(RQS_MUSL_LIBRARY, k->musl_library);
	k->order.library = k->library;
	k->order.musl_library = k->musl_library;
	k->order.placer = k->siblings.placer;
}

static bool take_option(struct keeper *k, int option)
{
	switch (option) {
	case OPT_PID:
		k->order.pid = atoi(optarg);
		return k->order.pid > 0;
	case OPT_TOKEN:
		k->order.token = optarg;
		return true;
	case OPT_CHANNEL:
		k->channel = atoi(optarg);
		return true;
	case OPT_COLLECTOR:
		k->collector = atoi(optarg);
		return true;
	case OPT_STOP:
		k->stop = atoi(optarg);
		return true;
	case OPT_CHILDREN:
		return k->order.children = true;
	case OPT_NO_SCHED:
		return k->order.no_sched = true;
	case OPT_DETACH_ONLY:
		return k->detach_only = true;
	default:
		return false;
	}
}

static int attach_keeper(int argc, char **argv)
{
	static struct keeper keeper = {.channel = -1, .collector = -1, .stop = -1};
	int option;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
		if (option == OPT_HELP) {
			rqs_print_usage(&rqs_command_attach_keeper);
			return RQS_EXIT_OK;
		}
		if (!take_option(&keeper, option)) {
			rqs_complain("attach-keeper: bad argument '%s'", argv[optind - 1]);
			return RQS_EXIT_USAGE;
		}
	}
	if (!keeper.order.pid || !keeper.order.token || keeper.channel < 3 || keeper.collector < 3) {
		rqs_complain("attach-keeper: it is started by `reqscope attach`");
		return RQS_EXIT_USAGE;
	}
	go_to_background();
	find_files(&keeper);
	live(&keeper);
	return RQS_EXIT_OK;
}

const struct rqs_command rqs_command_attach_keeper = {RQS_KEEPER_COMMAND, NULL, usage, attach_keeper};
