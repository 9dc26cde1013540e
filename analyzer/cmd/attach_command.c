/* attach_command.c - the command `attach`: records a process that runs, until told otherwise. */
#include "cmd/attaching.h"
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] = "usage: reqscope attach PID [-o FILE] [-f] [--duration S] [--label L] [--children]\n"
			    "                       [--no-sched] [--sites] [--sample-bytes B]\n"
			    "\n"
			    "Records the requests that process PID serves from now on, until Ctrl-C or PID's\n"
			    "end. The process is stopped for a moment at the begin and at the end; it goes on\n"
			    "without us afterwards.\n"
			    "\n"
			    "  -o, --output FILE  the trace (default reqscope.PID.rqs)\n"
			    "  -f, --force        replace FILE when it exists\n"
			    "  --duration S       stop recording after S seconds\n"
			    "  --label L          a name for this run, shown by report and compare\n"
			    "  --children         its child processes, too: those there are, and new ones\n"
			    "  --no-sched         of Go: no CPU and waiting times of goroutines, which cost most\n"
			    "  --sites            which lines allocate, by route: a sample of the allocations\n"
			    "  --sample-bytes B   one about every B bytes (default 512K, 4K to 1024M); the same\n"
			    "                     as --sites otherwise\n"
			    "  --help             this text\n"
			    "\n"
			    "Returns 0 when PID was recorded, 125 when it couldn't be, or when what records\n"
			    "it failed. It takes the right to trace PID: its user's, or root's.\n"
			    "\n"
			    "examples:\n"
			    "  reqscope attach 4711 -o app.rqs --duration 60\n"
			    "  reqscope attach --children $(cat gunicorn.pid)\n";

/* Command line */

enum { OPT_CHILDREN = RQS_OPT_OWN };

static const struct option long_options[] = {
    RQS_RECORDING_OPTIONS, {"children", no_argument, NULL, OPT_CHILDREN}, {NULL, 0, NULL, 0}};

/* -1: go on; else the exit status. */
static int take_option(struct attaching *a, int option, char **argv)
{
	if (option == OPT_CHILDREN) {
		a->children = true;
		return -1;
	}
	return rqs_take_recording_option(&a->options, &rqs_command_attach, RQS_EXIT_USAGE, option, argv);
}

static int take_pid(struct attaching *a, char **argv, int count)
{
	char *end;

	if (!count) {
		rqs_complain("attach: which process? Its PID is needed; `reqscope attach --help` tells more");
		return RQS_EXIT_USAGE;
	}
	if (count > 1) {
		rqs_complain("attach: one PID at a time; --children records its child processes, too");
		return RQS_EXIT_USAGE;
	}
	errno = 0;
	long number = strtol(argv[0], &end, 10);
	if (errno || *end || argv[0][0] < '1' || argv[0][0] > '9' || number > INT_MAX) {
		rqs_complain("attach: '%s' is no PID; `pgrep -a NAME` finds that of a program", argv[0]);
		return RQS_EXIT_USAGE;
	}
	a->pid = (pid_t)number;
	return -1;
}

static int parse(struct attaching *a, int argc, char **argv)
{
	int option, status;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, RQS_SHORT_RECORDING_OPTIONS, long_options, NULL)) != -1)
		if ((status = take_option(a, option, argv)) >= 0)
			return status;
	return take_pid(a, argv + optind, argc - optind);
}

/* What came of it */

static void print_stops(const struct attaching *a)
{
	rqs_complain("threads were stopped for at most %.1f ms to attach and %.1f ms to detach",
		     (double)a->begun.stopped_ns / 1e6, (double)a->end.stopped_ns / 1e6);
}

static void print_result(const struct attaching *a)
{
	const struct rqs_session_report *result = &a->collector.result;

	if (!rqs_collector_has_result(&a->collector))
		rqs_complain("the collector died: %s ends early", a->options.out);
	else if (result->completeness.started)
		rqs_complain("%" PRIu64 " requests recorded in %s", result->completeness.finished, result->file);
	else
		rqs_complain("nothing recorded: no request was seen");
	if (rqs_collector_has_result(&a->collector))
		rqs_collector_print_losses(result);
	if (a->missed)
		rqs_complain("%" PRIu32 " child process%s not recorded: %d: %s", a->missed,
			     a->missed == 1 ? " was" : "es were", a->first_missed.pid, a->first_missed.why);
}

static void print_end(const struct attaching *a)
{
	if (a->is_detached)
		print_stops(a);
	else
		rqs_complain("%d may have hooks of ours left, which do nothing", (int)a->pid);
	if (a->end.error)
		rqs_complain("in %d something of ours stays, and does nothing: %s", a->end.pid, a->end.why);
}

/* What -f is to replace is kept until there is something to replace it by. */
static void keep_old_trace(struct attaching *a)
{
	struct stat stat_;

	snprintf(a->kept, sizeof(a->kept), "%s~", a->options.out);
	a->has_kept = a->options.force && !lstat(a->options.out, &stat_) && S_ISREG(stat_.st_mode) &&
		      !access(a->options.out, W_OK) && access(a->kept, F_OK) && !rename(a->options.out, a->kept);
}

/* It says nothing, and goes, if it is one that the collector made. */
static void remove_trace(const struct attaching *a)
{
	struct stat stat_;

	if (a->has_trace && !stat(a->options.out, &stat_) && S_ISREG(stat_.st_mode))
		unlink(a->options.out);
	if (a->has_kept)
		rename(a->kept, a->options.out);
}

static int record(struct attaching *a)
{
	int stop[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, stop)) {
		rqs_complain("attach: socketpair: %s", strerror(errno));
		return RQS_EXIT_RUN_FAILED;
	}
	keep_old_trace(a);
	bool started = rqs_attach_start(a, stop);
	if (started)
		rqs_attach_wait(a);
	else
		rqs_collector_end(&a->collector);
	if (!a->recording) {
		remove_trace(a);
		return RQS_EXIT_RUN_FAILED;
	}
	if (a->has_kept)
		unlink(a->kept);
	if (a->is_left)
		return RQS_EXIT_RUN_FAILED;
	print_result(a);
	print_end(a);
	bool good = rqs_collector_has_result(&a->collector) && a->collector.result.ended && a->keepers == 1;
	return good && !a->end.error ? RQS_EXIT_OK : RQS_EXIT_RUN_FAILED;
}

/* Closed ones would be ours next, and then others'. */
static void fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int prepare_and_record(struct attaching *a)
{
	fill_standard_descriptors();
	if (!rqs_attach_check_target(a) || !rqs_collector_make_token("attach", a->token))
		return RQS_EXIT_RUN_FAILED;
	if (!a->options.out) {
		snprintf(a->default_out, sizeof(a->default_out), "reqscope.%d.rqs", (int)a->pid);
		a->options.out = a->default_out;
	}
	return record(a);
}

static int attach(int argc, char **argv)
{
	struct attaching *a = calloc(1, sizeof(*a));

	if (!a)
		return RQS_EXIT_RUN_FAILED;
	int status = parse(a, argc, argv);
	if (status < 0)
		status = prepare_and_record(a);
	free(a);
	return status;
}

const struct rqs_command rqs_command_attach = {
    .name = "attach",
    .summary = "record a process that runs already",
    .usage = usage,
    .run = attach,
};
