/* run_result.c - what became of a recording, on standard error. */
#include "cmd/command.h"
#include "cmd/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* CMD itself was told of when it started. */
static void print_unhooked(const struct run *run)
{
	uint64_t others = run->collector.result.unplaced - (run->collector.result.unplaced && run->is_unhooked);

	if (others)
		rqs_complain("%" PRIu64 " Go program%s that it started ran unhooked: not recorded", others,
			     others == 1 ? "" : "s");
}

static void print_nothing_recorded(const struct run *run)
{
	bool has_agent = run->kind == PROGRAM_MUSL && run->library[0];
	const char *obstacle = has_agent ? NULL : rqs_program_obstacle(run->kind);

	if (run->collector.result.registered)
		rqs_complain("nothing recorded: no request was seen");
	else if (run->is_unhooked)
		rqs_complain("nothing recorded");
	else if (obstacle)
		rqs_complain("nothing recorded: %s %s", run->command[0], obstacle);
	else
		rqs_complain("nothing recorded: no process of %s listened or served a connection", run->command[0]);
	if (run->collector.result.refused)
		rqs_complain("%" PRIu64 " processes were turned away", run->collector.result.refused);
}

static void print_result(const struct run *run)
{
	const struct rqs_session_report *result = &run->collector.result;

	if (!rqs_collector_has_result(&run->collector)) {
		rqs_complain("the collector died: %s ends early", run->options.out);
		return;
	}
	if (result->completeness.started)
		rqs_complain("%" PRIu64 " requests recorded in %s", result->completeness.finished, result->file);
	else
		print_nothing_recorded(run);
	rqs_collector_print_losses(result);
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

void rqs_run_read_result(struct run *run)
{
	if (rqs_collector_take_result(&run->collector))
		return;
	run->reported = true;
	rqs_collector_end(&run->collector);
	print_result(run);
}
