/* collector.c - starts the collector, and reads what became of the recording. */
#include "cmd/collector.h"
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OWN_ARGUMENTS 32
#define NUMBER_LENGTH 24
/* Patience with what takes milliseconds, unless it is stopped or its disk hangs. */
#define READY_MS 30000
#define END_MS 30000
#define END_STEP_MS 1

bool rqs_collector_make_token(const char *who, char *token)
{
	unsigned char random[RQS_TOKEN_LENGTH / 2];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		rqs_complain("%s: getrandom: %s", who, strerror(errno));
		return false;
	}
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(token + 2 * i, 3, "%02x", random[i]);
	return true;
}

/* Starting */

struct arguments {
	const char **list;
	int count;
};

static void add(struct arguments *arguments, const char *option, const char *value)
{
	if (!value)
		return;
	arguments->list[arguments->count++] = option;
	arguments->list[arguments->count++] = value;
}

/* In the text, which lasts until the exec. NULL: no such number. */
static const char *in_digits(char text[NUMBER_LENGTH], int64_t number)
{
	if (number < 0)
		return NULL;
	snprintf(text, NUMBER_LENGTH, "%" PRId64, number);
	return text;
}

static void keep_open(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

static void become_collector(const struct rqs_collector_order *order, int ready, int report)
{
	char pid[NUMBER_LENGTH], sample_bytes[NUMBER_LENGTH], numbers[3][NUMBER_LENGTH];
	size_t commands = 0;

	while (order->command && order->command[commands])
		commands++;
	struct arguments all = {.list = calloc(OWN_ARGUMENTS + commands, sizeof(*all.list))};
	if (!all.list)
		_exit(RQS_EXIT_RUN_FAILED);
	all.list[all.count++] = "reqscope";
	all.list[all.count++] = "collect";
	add(&all, "--token", order->token);
	add(&all, "--pid", in_digits(pid, order->pid));
	add(&all, "--mode", order->mode);
	add(&all, "--out", order->out);
	add(&all, "--ready-fd", in_digits(numbers[0], ready));
	add(&all, "--report-fd", in_digits(numbers[1], report));
	add(&all, "--stop-fd", in_digits(numbers[2], order->stop));
	if (order->force)
		all.list[all.count++] = "--force";
	add(&all, "--label", order->label);
	add(&all, "--duration", order->duration);
	if (order->sample_bytes)
		add(&all, "--sample-bytes", in_digits(sample_bytes, (int64_t)order->sample_bytes));
	if (commands) {
		all.list[all.count++] = "--";
		memcpy(all.list + all.count, order->command, commands * sizeof(*all.list));
	}
	keep_open(ready);
	keep_open(report);
	keep_open(order->stop);
	unsetenv("LD_PRELOAD");
	execv("/proc/self/exe", (char *const *)(uintptr_t)all.list);
	_exit(RQS_EXIT_RUN_FAILED);
}

/* -1: it couldn't be; else the descriptor that tells when it is ready. */
static int fork_collector(struct rqs_collector *collector, const struct rqs_collector_order *order)
{
	int ready[2], report[2];

	if (pipe2(ready, O_CLOEXEC) || pipe2(report, O_CLOEXEC)) {
		rqs_complain("%s: pipe: %s", order->who, strerror(errno));
		return -1;
	}
	collector->pid = fork();
	if (collector->pid < 0) {
		rqs_complain("%s: fork: %s", order->who, strerror(errno));
		return -1;
	}
	if (!collector->pid)
		become_collector(order, ready[1], report[1]);
	close(ready[1]);
	close(report[1]);
	collector->report = report[0];
	return ready[0];
}

/* A zero byte is good news; anything else is the reason why there is no session. */
static bool is_ready(const struct rqs_collector_order *order, int ready)
{
	char text[PATH_MAX + 256];
	struct pollfd spoken = {.fd = ready, .events = POLLIN};
	size_t length = 0;
	ssize_t got;

	while (length < sizeof(text) - 1 && poll(&spoken, 1, READY_MS) != 0) {
		got = read(ready, text + length, sizeof(text) - 1 - length);
		if (!got || (got < 0 && errno != EINTR))
			break;
		length += got > 0 ? (size_t)got : 0;
		if (length && !text[0])
			break;
	}
	close(ready);
	text[length] = 0;
	if (length && !text[0])
		return true;
	rqs_complain("%s: %s", order->who, length ? text : "the collector couldn't be started");
	return false;
}

bool rqs_collector_start(struct rqs_collector *collector, const struct rqs_collector_order *order)
{
	int ready = fork_collector(collector, order);

	return ready >= 0 && is_ready(order, ready);
}

/* Its result */

bool rqs_collector_take_result(struct rqs_collector *collector)
{
	struct rqs_collector *c = collector;
	char *into = (char *)&c->result;
	ssize_t got = read(c->report, into + c->result_length, sizeof(c->result) - c->result_length);

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (got > 0)
		c->result_length += (size_t)got;
	return got > 0 && c->result_length < sizeof(c->result);
}

bool rqs_collector_has_result(const struct rqs_collector *collector)
{
	return collector->result_length == sizeof(collector->result);
}

void rqs_collector_end(struct rqs_collector *collector)
{
	const struct timespec moment = {.tv_nsec = END_STEP_MS * 1000000};

	close(collector->report);
	for (int waited = 0; collector->pid && waited < END_MS; waited += END_STEP_MS) {
		if (waitpid(collector->pid, NULL, WNOHANG))
			break;
		nanosleep(&moment, NULL);
	}
	collector->pid = 0;
}

static void count_line(const char *separator, uint64_t count, const char *what, bool *any)
{
	if (!count)
		return;
	fprintf(stderr, "%s%" PRIu64 " %s", *any ? separator : "reqscope: ", count, what);
	*any = true;
}

static void print_troubles(const struct rqs_session_report *result)
{
	if (result->troubles.write_error)
		rqs_complain("%s: %s; %" PRIu64 " requests couldn't be written", result->file,
			     strerror(result->troubles.write_error), result->troubles.rows_lost);
	if (!result->ended)
		rqs_complain("%s has no end frame", result->file);
	if (result->troubles.malformed_records || result->troubles.broken_chunks)
		rqs_complain("the server wrote over %" PRIu64 " records and %" PRIu64 " buffers of ours",
			     result->troubles.malformed_records, result->troubles.broken_chunks);
	if (result->troubles.lost_processes)
		rqs_complain("%" PRIu64 " processes beyond the most that can be recorded",
			     result->troubles.lost_processes);
}

void rqs_collector_print_losses(const struct rqs_session_report *result)
{
	const struct rqs_completeness *c = &result->completeness;
	bool any = false;

	count_line(", ", c->dropped, "dropped", &any);
	count_line(", ", c->unfinished, "unfinished at the end", &any);
	count_line(", ", c->given_up, "given up (not HTTP/1)", &any);
	if (any)
		fputc('\n', stderr);
	print_troubles(result);
}
