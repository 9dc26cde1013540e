/*
 * run.c - the command `run`: starts a program with the agent in it, and a
 * collector beside it.
 *
 *    run --+-- CMD        waits at a gate until the collector is ready
 *          +-- collector  a session of its own; ends when the recording does
 *
 * CMD is to see no difference: its standard streams, signals and dispositions
 * are as they would be without us.
 */
#include "cmd/command.h"
#include "cmd/program.h"
#include "collect/session.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIBRARY "libreqscope.so"
#define MUSL_LIBRARY "libreqscope-musl.so"
#define SIGNAL_STATUS 128

static const char usage[] = "usage: reqscope run [-o FILE] [-f] [--duration S] [--label L] -- CMD [ARGUMENT...]\n"
			    "\n"
			    "Runs CMD and records the requests that it and its child processes serve.\n"
			    "\n"
			    "  -o, --output FILE  the trace (default reqscope.PID.rqs, PID that of CMD)\n"
			    "  -f, --force        replace FILE when it exists\n"
			    "  --duration S       stop recording after S seconds; CMD goes on\n"
			    "  --label L          a name for this run, shown by report and compare\n"
			    "  --help             this text\n"
			    "\n"
			    "Ends with CMD, or, when CMD has left servers in the background, with the last\n"
			    "of these, and returns CMD's exit status: 128 + N when signal N ended it, 125\n"
			    "when reqscope itself failed.\n"
			    "\n"
			    "examples:\n"
			    "  reqscope run -o app.rqs -- gunicorn -w 4 app:app\n"
			    "  reqscope run --label old --duration 30 -- node server.js\n";

/* Signals that mean something to a server when somebody sends them. */
static const int forwarded[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM, SIGUSR1,
				SIGUSR2, SIGALRM, SIGWINCH, SIGTTIN, SIGTTOU};
#define FORWARDED (sizeof(forwarded) / sizeof(forwarded[0]))

struct run {
	char *out;
	char default_out[64];
	const char *label;
	char *duration;
	bool force;
	char **command;
	char path[PATH_MAX];    /* of the program */
	char library[PATH_MAX]; /* of the agent; "" for none */
	enum rqs_program_kind kind;
	char token[RQS_TOKEN_LENGTH + 1];
	sigset_t old_mask;
	struct sigaction old_child;
	int signals; /* signalfd */
	pid_t child; /* CMD; 0 when it has ended */
	pid_t collector;
	int status;        /* CMD's exit status, as ours */
	int gate;          /* closing it unopened ends the waiting child */
	int exec_error;    /* tells the errno of a failed exec */
	int ready, report; /* of the collector */
	bool reported;     /* the result is in */
	struct rqs_session_report result;
	size_t result_length;
};

/* Command line */

enum option_id {
	OPT_DURATION = 256,
	OPT_LABEL,
	OPT_HELP,
};

static const struct option long_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"force", no_argument, NULL, 'f'},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"label", required_argument, NULL, OPT_LABEL},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* -1: go on; else the exit status. */
static int take_option(struct run *run, int option, char **argv)
{
	uint64_t ns;

	switch (option) {
	case 'o':
		run->out = optarg;
		if (*optarg && strlen(optarg) < PATH_MAX - 32)
			return -1;
		rqs_complain("run: '%s' can't be a file name", optarg);
		return RQS_EXIT_RUN_FAILED;
	case 'f':
		run->force = true;
		return -1;
	case OPT_DURATION:
		run->duration = optarg;
		if (rqs_parse_duration(optarg, &ns))
			return -1;
		rqs_complain("run: --duration takes seconds, such as 30 or 0.5, not '%s'", optarg);
		return RQS_EXIT_RUN_FAILED;
	case OPT_LABEL:
		run->label = optarg;
		return -1;
	case OPT_HELP:
		rqs_print_usage(&rqs_command_run);
		return RQS_EXIT_OK;
	case ':':
		rqs_complain("run: %s needs a value", argv[optind - 1]);
		return RQS_EXIT_RUN_FAILED;
	default:
		rqs_complain("run: no option '%s'; `reqscope run --help` lists them", argv[optind - 1]);
		return RQS_EXIT_RUN_FAILED;
	}
}

static int parse(struct run *run, int argc, char **argv)
{
	int option, status;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "+:o:f", long_options, NULL)) != -1)
		if ((status = take_option(run, option, argv)) >= 0)
			return status;
	if (optind == argc) {
		rqs_complain("run: no command to run; `reqscope run --help` tells more");
		return RQS_EXIT_RUN_FAILED;
	}
	run->command = argv + optind;
	return -1;
}

/* Preparing */

static bool try_library(struct run *run, const char *folder, const char *below, const char *name)
{
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s%s", folder, below, name);
	return realpath(path, run->library) != NULL;
}

/*
 * The one that fits CMD, beside the program, as built; or where `make install`
 * puts it. Musl's is optional: a program that would need it is run unrecorded.
 */
static bool find_library(struct run *run)
{
	const char *name = run->kind == PROGRAM_MUSL ? MUSL_LIBRARY : LIBRARY;
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (length <= 0) {
		rqs_complain("run: /proc isn't mounted");
		return false;
	}
	self[length] = 0;
	slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	if (!try_library(run, self, "", name) && !try_library(run, self, "../lib/reqscope/", name)) {
		run->library[0] = 0;
		if (run->kind == PROGRAM_MUSL)
			return true;
		rqs_complain("run: %s is neither in %s nor in %s/../lib/reqscope", name, self, self);
		return false;
	}
	if (strpbrk(run->library, " :")) {
		rqs_complain("run: %s: the loader can't preload from a path with a space or colon", run->library);
		return false;
	}
	return true;
}

static bool make_token(struct run *run)
{
	unsigned char random[RQS_TOKEN_LENGTH / 2];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		rqs_complain("run: getrandom: %s", strerror(errno));
		return false;
	}
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(run->token + 2 * i, 3, "%02x", random[i]);
	return true;
}

static bool prepare(struct run *run)
{
	int error = rqs_program_find(run->command[0], run->path, sizeof(run->path));

	if (error) {
		rqs_complain("run: %s: %s", run->command[0], error == -ENOENT ? "no such program" : strerror(-error));
		return false;
	}
	run->kind = rqs_program_kind(run->path);
	return find_library(run) && make_token(run);
}

static bool take_signals(struct run *run)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	for (size_t i = 0; i < FORWARDED; i++)
		sigaddset(&mask, forwarded[i]);
	sigaction(SIGCHLD, &standard, &run->old_child); /* ignored, it would reap our children for us */
	sigprocmask(SIG_BLOCK, &mask, &run->old_mask);
	run->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signals < 0)
		rqs_complain("run: signalfd: %s", strerror(errno));
	return run->signals >= 0;
}

static void give_signals_back(const struct run *run)
{
	sigaction(SIGCHLD, &run->old_child, NULL);
	sigprocmask(SIG_SETMASK, &run->old_mask, NULL);
}

/* The two processes */

static void set_environment(const struct run *run)
{
	const char *old = getenv("LD_PRELOAD");
	char *value = NULL;

	if (!run->library[0] || run->kind == PROGRAM_OTHER_MACHINE)
		return;
	if (asprintf(&value, "%s%s%s", run->library, old && *old ? ":" : "", old ? old : "") < 0)
		_exit(RQS_EXIT_RUN_FAILED);
	setenv("LD_PRELOAD", value, 1);
	setenv(RQS_ENV_SESSION, run->token, 1);
}

/* In the child: until the gate opens, nothing; then CMD. */
static void become_command(struct run *run, int gate, int exec_error)
{
	char open_gate;

	give_signals_back(run);
	if (read(gate, &open_gate, 1) != 1)
		_exit(RQS_EXIT_RUN_FAILED);
	set_environment(run);
	execvp(run->command[0], run->command);

	int error = errno;
	if (write(exec_error, &error, sizeof(error)) < 0) {
		/* Then our exit status has to tell. */
	}
	_exit(RQS_EXIT_RUN_FAILED);
}

static bool start_child(struct run *run)
{
	int gate[2], exec_error[2];

	if (pipe2(gate, O_CLOEXEC) || pipe2(exec_error, O_CLOEXEC)) {
		rqs_complain("run: pipe: %s", strerror(errno));
		return false;
	}
	run->child = fork();
	if (run->child < 0) {
		rqs_complain("run: fork: %s", strerror(errno));
		return false;
	}
	if (!run->child) {
		close(gate[1]);
		become_command(run, gate[0], exec_error[1]);
	}
	close(gate[0]);
	close(exec_error[1]);
	run->gate = gate[1];
	run->exec_error = exec_error[0];
	return true;
}

static void become_collector(const struct run *run, int ready, int report)
{
	char pid[16], ready_text[16], report_text[16];
	const char *arguments[20];
	int count = 0, commands = 0;

	while (run->command[commands])
		commands++;
	snprintf(pid, sizeof(pid), "%d", (int)run->child);
	snprintf(ready_text, sizeof(ready_text), "%d", ready);
	snprintf(report_text, sizeof(report_text), "%d", report);
	arguments[count++] = "reqscope";
	arguments[count++] = "collect";
	arguments[count++] = "--token";
	arguments[count++] = run->token;
	arguments[count++] = "--pid";
	arguments[count++] = pid;
	arguments[count++] = "--out";
	arguments[count++] = run->out;
	arguments[count++] = "--ready-fd";
	arguments[count++] = ready_text;
	arguments[count++] = "--report-fd";
	arguments[count++] = report_text;
	if (run->force)
		arguments[count++] = "--force";
	if (run->label) {
		arguments[count++] = "--label";
		arguments[count++] = run->label;
	}
	if (run->duration) {
		arguments[count++] = "--duration";
		arguments[count++] = run->duration;
	}
	arguments[count++] = "--";

	const char **all = malloc(((size_t)count + (size_t)commands + 1) * sizeof(*all));
	if (!all)
		_exit(RQS_EXIT_RUN_FAILED);
	memcpy(all, arguments, (size_t)count * sizeof(*all));
	memcpy(all + count, run->command, ((size_t)commands + 1) * sizeof(*all));
	fcntl(ready, F_SETFD, 0);
	fcntl(report, F_SETFD, 0);
	unsetenv("LD_PRELOAD");
	execv("/proc/self/exe", (char *const *)(uintptr_t)all);
	_exit(RQS_EXIT_RUN_FAILED);
}

static bool start_collector(struct run *run)
{
	int ready[2], report[2];

	if (pipe2(ready, O_CLOEXEC) || pipe2(report, O_CLOEXEC)) {
		rqs_complain("run: pipe: %s", strerror(errno));
		return false;
	}
	run->collector = fork();
	if (run->collector < 0) {
		rqs_complain("run: fork: %s", strerror(errno));
		return false;
	}
	if (!run->collector)
		become_collector(run, ready[1], report[1]);
	close(ready[1]);
	close(report[1]);
	run->ready = ready[0];
	run->report = report[0];
	return true;
}

/* A zero byte is good news; anything else is the reason why there is no session. */
static bool collector_is_ready(struct run *run)
{
	char text[PATH_MAX + 256];
	size_t length = 0;
	ssize_t got;

	while (length < sizeof(text) - 1 && (got = read(run->ready, text + length, sizeof(text) - 1 - length)) != 0) {
		if (got < 0 && errno != EINTR)
			break;
		length += got > 0 ? (size_t)got : 0;
		if (length && !text[0])
			break;
	}
	close(run->ready);
	text[length] = 0;
	if (length && !text[0])
		return true;
	rqs_complain("run: %s", length ? text : "the collector couldn't be started");
	return false;
}

/* Lets CMD go. False when it couldn't be executed. */
static bool open_gate(struct run *run)
{
	int error = 0;

	if (write(run->gate, "", 1) != 1) {
		/* The child was killed meanwhile, which its status will tell. */
	}
	close(run->gate);
	bool failed = read(run->exec_error, &error, sizeof(error)) == (ssize_t)sizeof(error);
	close(run->exec_error);
	if (failed)
		rqs_complain("run: %s: %s", run->command[0], strerror(error));
	return !failed;
}

/* Waiting */

static void reap_child(struct run *run)
{
	int status;

	if (!run->child || waitpid(run->child, &status, WNOHANG) != run->child)
		return;
	run->child = 0;
	run->status = WIFSIGNALED(status) ? SIGNAL_STATUS + WTERMSIG(status) : WEXITSTATUS(status);
}

/*
 * The terminal's signals have reached CMD already, by the process group; those
 * sent to us alone are passed on. False: with CMD gone, we're asked to go, too.
 */
static bool handle_signal(struct run *run, const struct signalfd_siginfo *info)
{
	bool sent = info->ssi_code == SI_USER || info->ssi_code == SI_QUEUE || info->ssi_code == SI_TKILL;

	if (info->ssi_signo == SIGCHLD) {
		reap_child(run);
		return true;
	}
	if (run->child) {
		if (sent && (pid_t)info->ssi_pid != run->child)
			kill(run->child, (int)info->ssi_signo);
		return true;
	}
	return info->ssi_signo != SIGINT && info->ssi_signo != SIGTERM && info->ssi_signo != SIGHUP &&
	       info->ssi_signo != SIGQUIT;
}

static bool handle_signals(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (!handle_signal(run, &info))
			return false;
	return true;
}

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

static void print_nothing_recorded(const struct run *run)
{
	bool has_agent = run->kind == PROGRAM_MUSL && run->library[0];
	const char *obstacle = has_agent ? NULL : rqs_program_obstacle(run->kind);

	if (run->result.registered)
		rqs_complain("nothing recorded: no request was seen");
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
}

/* The result comes in one piece; the end of the pipe without it means that the collector is dead. */
static void read_result(struct run *run)
{
	char *into = (char *)&run->result;
	ssize_t got = read(run->report, into + run->result_length, sizeof(run->result) - run->result_length);

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got > 0)
		run->result_length += (size_t)got;
	if (got > 0 && run->result_length < sizeof(run->result))
		return;
	run->reported = true;
	close(run->report);
	waitpid(run->collector, NULL, 0);
	print_result(run);
}

/* Until CMD has ended and the recording, too. */
static void wait_for_both(struct run *run)
{
	while (run->child || !run->reported) {
		struct pollfd fds[2] = {
		    {.fd = run->signals, .events = POLLIN},
		    {.fd = run->reported ? -1 : run->report, .events = POLLIN},
		};

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents && !handle_signals(run)) {
			rqs_complain("%s has ended; what it left behind is still being recorded in %s", run->command[0],
				     run->out);
			return;
		}
		if (!run->reported && fds[1].revents)
			read_result(run);
	}
}

/* CMD wasn't executed: its trace says nothing, and goes. */
static int undo(struct run *run)
{
	struct stat stat_;

	waitpid(run->child, NULL, 0);
	while (!run->reported && run->result_length < sizeof(run->result)) {
		ssize_t got = read(run->report, (char *)&run->result + run->result_length,
				   sizeof(run->result) - run->result_length);

		if (got <= 0)
			break;
		run->result_length += (size_t)got;
	}
	waitpid(run->collector, NULL, 0);
	if (!stat(run->out, &stat_) && S_ISREG(stat_.st_mode))
		unlink(run->out);
	return RQS_EXIT_RUN_FAILED;
}

static int record(struct run *run)
{
	if (!take_signals(run) || !start_child(run))
		return RQS_EXIT_RUN_FAILED;
	if (!run->out) {
		snprintf(run->default_out, sizeof(run->default_out), "reqscope.%d.rqs", (int)run->child);
		run->out = run->default_out;
	}
	if (!start_collector(run) || !collector_is_ready(run)) {
		close(run->gate);
		waitpid(run->child, NULL, 0);
		return RQS_EXIT_RUN_FAILED;
	}
	if (!open_gate(run))
		return undo(run);
	wait_for_both(run);
	return run->status;
}

static int run_command(int argc, char **argv)
{
	struct run *run = calloc(1, sizeof(*run));
	int status;

	if (!run)
		return RQS_EXIT_RUN_FAILED;
	status = parse(run, argc, argv);
	if (status < 0)
		status = prepare(run) ? record(run) : RQS_EXIT_RUN_FAILED;
	free(run);
	return status;
}

const struct rqs_command rqs_command_run = {
    .name = "run",
    .summary = "run a program and record its requests",
    .usage = usage,
    .run = run_command,
};
