/* attach_wait.c - starts the processes that attach and collect, and waits for what they say. */
#include "cmd/attaching.h"
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The one that attaches, and one to clean up after it when it was killed. */
#define KEEPERS 2
/* A process is attached to, or detached from, in less than that, or not at all; the keeper tells of each. */
#define KEEPER_PATIENCE_MS 60000
#define COLLECTOR_PATIENCE_MS 15000
#define TWICE_MS 300
#define NUMBER_LENGTH 16

/* Starting */

static bool take_signals(struct attaching *a)
{
	static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	struct sigaction old;
	sigset_t mask;

	sigemptyset(&mask);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (!sigaction(ends[i], NULL, &old) && old.sa_handler != SIG_IGN) /* nohup */
			sigaddset(&mask, ends[i]);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would reap our children for us */
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	a->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a->signals < 0)
		rqs_complain("attach: signalfd: %s", strerror(errno));
	return a->signals >= 0;
}

static const char *in_digits(char text[NUMBER_LENGTH], int number)
{
	snprintf(text, NUMBER_LENGTH, "%d", number);
	return text;
}

/* `stop` below 0: there is only to detach. */
static void become_keeper(const struct attaching *a, int channel, int stop)
{
	char pid[NUMBER_LENGTH], numbers[3][NUMBER_LENGTH];
	const char *arguments[16] = {
	    "reqscope",       RQS_KEEPER_COMMAND,
	    "--pid",          in_digits(pid, (int)a->pid),
	    "--token",        a->token,
	    "--channel",      in_digits(numbers[0], channel),
	    "--collector-fd", in_digits(numbers[1], a->collector.report),
	};
	int count = 10;

	if (stop >= 0) {
		arguments[count++] = "--stop-fd";
		arguments[count++] = in_digits(numbers[2], stop);
		fcntl(stop, F_SETFD, 0);
	} else {
		arguments[count++] = "--detach-only";
	}
	if (a->children)
		arguments[count++] = "--children";
	if (a->options.no_sched)
		arguments[count++] = "--no-sched";
	fcntl(channel, F_SETFD, 0);
	fcntl(a->collector.report, F_SETFD, 0);
	unsetenv("LD_PRELOAD");
	execv("/proc/self/exe", (char *const *)(uintptr_t)arguments);
	_exit(RQS_EXIT_RUN_FAILED);
}

static bool start_keeper(struct attaching *a, int stop)
{
	int channel[2];

	a->keepers++;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel)) {
		rqs_complain("attach: socketpair: %s", strerror(errno));
		return false;
	}
	a->keeper = fork();
	if (a->keeper < 0) {
		rqs_complain("attach: fork: %s", strerror(errno));
		return false;
	}
	if (!a->keeper)
		become_keeper(a, channel[1], stop);
	close(channel[1]);
	a->channel = channel[0];
	return true;
}

bool rqs_attach_start(struct attaching *a, int stop[2])
{
	const struct rqs_collector_order order = {
	    .who = "attach",
	    .token = a->token,
	    .mode = "attach",
	    .pid = a->pid,
	    .out = a->options.out,
	    .force = a->options.force,
	    .label = a->options.label,
	    .duration = a->options.duration,
	    .sample_bytes = a->options.sample_bytes,
	    .stop = stop[0],
	};
	a->has_trace = take_signals(a) && rqs_collector_start(&a->collector, &order);
	bool ok = a->has_trace && start_keeper(a, stop[1]);

	close(stop[0]);
	close(stop[1]);
	return ok;
}

/* What the keeper says */

static void note_begin(struct attaching *a, const struct rqs_keeper_word *word)
{
	a->begun = *word;
	a->recording = !word->error;
	if (a->recording)
		rqs_complain("recording %d (%s)%s into %s; Ctrl-C ends it", (int)a->pid, a->name,
			     word->processes > 1 ? " and its child processes" : "", a->options.out);
	else
		rqs_attach_explain(a);
}

static void note(struct attaching *a, const struct rqs_keeper_word *word)
{
	switch (word->event) {
	case RQS_KEEPER_ATTACHED:
		note_begin(a, word);
		break;
	case RQS_KEEPER_MISSED:
		if (!a->missed++)
			a->first_missed = *word;
		break;
	case RQS_KEEPER_BUSY:
		break;
	default:
		a->end = *word;
		a->is_detached = true;
	}
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void expect_word(struct attaching *a, int patience_ms)
{
	a->patience_ends_ms = now_ms() + (uint64_t)patience_ms;
}

/* Killed in the middle, it has left hooks behind, which do nothing as the collector has ended with it. */
static void handle_keeper_end(struct attaching *a)
{
	close(a->channel);
	a->channel = -1;
	waitpid(a->keeper, NULL, 0);
	expect_word(a, COLLECTOR_PATIENCE_MS);
	if (a->is_detached)
		return;
	rqs_complain("attach: the process that keeps %d attached was killed; the recording ends", (int)a->pid);
	if (a->keepers < KEEPERS && start_keeper(a, -1)) {
		a->is_asked = true;
		expect_word(a, KEEPER_PATIENCE_MS);
	}
}

static void read_channel(struct attaching *a)
{
	struct rqs_keeper_word word;
	ssize_t got = recv(a->channel, &word, sizeof(word), 0);

	if (got == (ssize_t)sizeof(word)) {
		expect_word(a, KEEPER_PATIENCE_MS);
		note(a, &word);
	} else if (got >= 0 || errno != EINTR) {
		handle_keeper_end(a);
	}
}

/* Waiting */

/* The keeper knows as soon, and detaches. */
static void take_result(struct attaching *a)
{
	a->collected = !rqs_collector_take_result(&a->collector);
	if (a->collected)
		expect_word(a, KEEPER_PATIENCE_MS);
}

/* The first asks the keeper to detach. One that comes later doesn't want to wait for that; some come twice at once. */
static void read_signals(struct attaching *a)
{
	struct signalfd_siginfo info;
	bool any = false;

	while (read(a->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		any = true;
	if (any && a->is_asked && now_ms() > a->asked_ms + TWICE_MS)
		a->is_left = true;
	if (!any || a->is_asked || a->channel < 0)
		return;
	a->is_asked = true;
	a->asked_ms = now_ms();
	expect_word(a, KEEPER_PATIENCE_MS);
	shutdown(a->channel, SHUT_WR);
}

/* ms until somebody must have said something; -1: the recording goes on for as long as it likes. */
static int patience(const struct attaching *a)
{
	uint64_t now = now_ms();
	bool is_recorded = a->recording && !a->is_asked && !a->is_detached && a->channel >= 0;

	if (is_recorded && !a->collected)
		return -1;
	return now < a->patience_ends_ms ? (int)(a->patience_ends_ms - now) : 0;
}

static void leave(struct attaching *a)
{
	a->is_left = true;
	rqs_complain(a->channel < 0 ? "attach: the collector of %d doesn't end; it goes on without us"
		     : a->recording ? "attach: detaching from %d goes on without us"
				    : "attach: %d isn't attached to yet; it will be detached from without us",
		     (int)a->pid);
}

void rqs_attach_wait(struct attaching *a)
{
	expect_word(a, KEEPER_PATIENCE_MS);
	while (a->channel >= 0 || !a->collected) {
		struct pollfd fds[3] = {
		    {.fd = a->signals, .events = POLLIN},
		    {.fd = a->channel, .events = POLLIN},
		    {.fd = a->collected ? -1 : a->collector.report, .events = POLLIN},
		};
		int left = patience(a), ready = poll(fds, 3, left);

		if (ready < 0 && errno != EINTR)
			return;
		if (ready > 0 && fds[0].revents)
			read_signals(a);
		if (ready > 0 && fds[1].revents)
			read_channel(a);
		if (ready > 0 && !a->collected && fds[2].revents)
			take_result(a);
		if (a->is_left || (!ready && !left)) {
			leave(a);
			return;
		}
	}
	rqs_collector_end(&a->collector);
}
