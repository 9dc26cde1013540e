/* attach_keeper.c - the hidden command `attach-keeper`: attaches, waits, and detaches (keeper.h). */
#include "cmd/command.h"
#include "cmd/keeping.h"

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Without --children descendants only have to be known when their parent ends. */
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

/* Life */

/* Those that are too young now are none that come later. */
static void look_first(struct rqs_keeper *k)
{
	const struct timespec pause_ = {.tv_nsec = RQS_LOOK_MS * 1000000 / ROUNDS};

	rqs_family_look(k, k->order.children);
	for (int i = 0; i < ROUNDS && k->postponed; i++) {
		nanosleep(&pause_, NULL);
		rqs_family_look(k, true);
	}
}

static bool begin(struct rqs_keeper *k)
{
	struct rqs_seen_process seen = {.pid = k->order.pid};

	rqs_process_see(k->order.pid, &seen);
	struct rqs_member *m = rqs_family_add(k, &seen);
	if (!m)
		return false;
	int error = rqs_family_attach(k, m);
	if (!error || k->order.children)
		look_first(k);
	if (k->attached)
		rqs_keeper_tell_collector(k, RQS_ATTACH_BEGUN, k->attached, k->stopped_ns);
	rqs_keeper_tell_attaching(k, RQS_KEEPER_ATTACHED, m, k->attached ? 0 : error);
	return k->attached;
}

/* Until one of the three has ended. */
static void wait_for_end(struct rqs_keeper *k)
{
	struct pollfd ends[2] = {{.fd = k->channel, .events = POLLIN}, {.fd = k->stop, .events = POLLIN}};
	int pause = k->order.children ? RQS_LOOK_MS : LOOK_SELDOM_MS;

	while (poll(ends, 2, pause) <= 0)
		rqs_family_look(k, k->order.children);
}

/* Until it reads no more, or, after a keeper that was killed, has ended. */
static void stop_collector(struct rqs_keeper *k)
{
	struct pollfd end = {.fd = k->detach_only ? k->collector : k->stop, .events = k->detach_only ? 0 : POLLIN};

	char word;

	rqs_keeper_tell_collector(k, RQS_ATTACH_STOP, 0, 0);
	/* What isn't read when we end would take from it what we say. */
	if (poll(&end, 1, COLLECTOR_PATIENCE_MS) == 1 && !k->detach_only &&
	    recv(k->stop, &word, 1, MSG_DONTWAIT) != 1) {
		/* It was killed. */
	}
}

/* Where nothing was attached to, nothing is to be taken out: what is there is of another recording. */
static void live(struct rqs_keeper *k)
{
	bool has_begun = k->detach_only || begin(k);

	if (has_begun && !k->detach_only)
		wait_for_end(k);
	stop_collector(k);
	for (int i = 0; has_begun && i < ROUNDS && rqs_family_detach(k); i++)
		;
	rqs_keeper_tell_collector(k, RQS_ATTACH_OVER, k->end.processes, k->end.stopped_ns);
	k->end.event = RQS_KEEPER_DETACHED;
	rqs_keeper_tell(k, &k->end);
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

static void find_files(struct rqs_keeper *k)
{
	rqs_siblings_find(&k->siblings);
	rqs_siblings_library(RQS_LIBRARY, k->library);
	rqs_siblings_library(RQS_MUSL_LIBRARY, k->musl_library);
	k->order.library = k->library;
	k->order.musl_library = k->musl_library;
	k->order.placer = k->siblings.placer;
}

static bool take_option(struct rqs_keeper *k, int option)
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
	static struct rqs_keeper keeper = {.channel = -1, .collector = -1, .stop = -1};
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
