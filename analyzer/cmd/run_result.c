/* run_result.c - what became of a recording, on standard error. */
#include "cmd/command.h"
#include "cmd/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void count_line(const char *separator, uint64_t count, const char *what, bool *any)
{
	if (!count)
		return;
	fprintf(stderr, "%s%" PRIu64 " %s", *any ? separator : "reqscope: ", count, what);
	*any = true;
}

static void print_losses(const struct rqs_session_report *result)
{
	const struct rqs_completeness *c = &result->completeness;
	bool any = false;

	count_line(", ", c->dropped, "dropped", &any);
	count_line(", ", c->unfinished, "unfinished at the end", &any);
	count_line(", ", c->given_up, "given up (not HTTP/1)", &any);
	if (any)
		fputc('\n', stderr);
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

/* CMD itself was told of when it started. */
static void print_unhooked(const struct run *run)
{
	uint64_t others = run->result.unplaced - (run->result.unplaced && run->is_unhooked);

	if (others)
		rqs_complain("%" PRIu64 " Go program%s that it started ran unhooked: not recorded", others,
			     others == 1 ? "" : "s");
}

static void print_nothing_recorded(const struct run *run)
{
	bool has_agent = run->kind == PROGRAM_MUSL && run->library[0];
	const char *obstacle = has_agent ? NULL : rqs_program_obstacle(run->kind);

	if (run->result.registered)
		rqs_complain("nothing recorded: no request was seen");
	else if (run->is_unhooked)
		rqs_complain("nothing recorded");
	else if (obstacle)
		rqs_complain("nothing recorded: %s %s", run->command[0], obstacle);
	else
		rqs_complain("nothing recorded: no process of %s listened or served a connection", run->command[0]);
	if (run->result.refused)
		rqs_complain("%" PRIu64 " processes were turned away", run->result.refused);
}

static void print_result(const struct run *run)
{
	const struct rqs_session_report *result = &run->result;

	if (run->result_length < sizeof(*result)) {
		rqs_complain("the collector died: %s ends early", run->out);
		return;
	}
	if (result->completeness.started)
		rqs_complain("%" PRIu64 " requests recorded in %s", result->completeness.finished, result->file);
	else
		print_nothing_recorded(run);
	print_losses(result);
	print_troubles(result);
	print_unhooked(run);
}

/* A text, or none where it is hooked, or no Go program. */
void rqs_run_read_unhooked(struct run *run)
{
	char why[RQS_REASON];
	ssize_t got = read(run->unhooked, why, sizeof(why));

	if (got > 0) {
		run->is_unhooked = true;
		rqs_complain("%s isn't recorded: %.*s", run->command[0], (int)got, why);
	}
	close(run->unhooked);
	run->unhooked = -1;
}

bool rqs_run_take_result(struct run *run)
{
	char *into = (char *)&run->result;
	ssize_t got = read(run->report, into + run->result_length, sizeof(run->result) - run->result_length);

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (got > 0)
		run->result_length += (size_t)got;
	return got > 0 && run->result_length < sizeof(run->result);
}

void rqs_run_end_collector(struct run *run)
{
	close(run->report);
	if (run->collector)
		waitpid(run->collector, NULL, 0);
	run->collector = 0;
}

void rqs_run_read_result(struct run *run)
{
	if (rqs_run_take_result(run))
		return;
	run->reported = true;
	rqs_run_end_collector(run);
	print_result(run);
}
