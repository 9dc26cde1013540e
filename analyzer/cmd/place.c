/*
 * place.c - the hidden command `place`: becomes a program, with our code placed
 * in it when it is a static Go program.
 *
 * The library and the code in Go programs put it before what they execute.
 * Whatever else fails, it must become the program; it has the environment
 * that is meant for that, LD_PRELOAD and all.
 */
#include "cmd/command.h"
#include "cmd/siblings.h"
#include "inject/placing.h"
#include "reqscope/region.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* As a shell says it. */
#define STATUS_NOT_FOUND 127
#define STATUS_NOT_EXECUTABLE 126
/* Whoever starts a program that he has just written may do so while another child of his still has it open. */
#define BUSY_TRIES 50
#define BUSY_PAUSE_NS 20000000

static const char usage[] = "usage: reqscope place [--session T] --path FILE|--fd N|--fd-until-exec N -- NAME [ARGUMENT...]\n"
			    "\n"
			    "Becomes the program FILE, called NAME, and records it if it is written in Go and\n"
			    "linked statically. It is put before such programs by what records their\n"
			    "starters; there is no need to call it.\n"
			    "\n"
			    "  --path FILE        the program\n"
			    "  --fd N             likewise, open as descriptor N\n"
			    "  --fd-until-exec N  likewise, and the program doesn't get it\n"
			    "  --session T        the session (default $REQSCOPE_SESSION)\n";

enum option_id {
	OPT_SESSION = 1,
	OPT_PATH,
	OPT_FD,
	OPT_FD_UNTIL_EXEC,
	OPT_HELP,
};

static const struct option long_options[] = {
    {"session", required_argument, NULL, OPT_SESSION},
    {"path", required_argument, NULL, OPT_PATH},
    {"fd", required_argument, NULL, OPT_FD},
    {"fd-until-exec", required_argument, NULL, OPT_FD_UNTIL_EXEC},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* Returns only where the program can't be executed. */
static int become(struct rqs_placing *placing, char **argv)
{
	struct rqs_siblings siblings;
	const struct timespec pause = {0, BUSY_PAUSE_NS};
	int error = 0;

	rqs_siblings_find(&siblings);
	placing->tracer = siblings.program;
	placing->program = siblings.placer;
	for (int i = 0; i < BUSY_TRIES; i++) {
		error = rqs_place_exec(placing, argv, environ);
		if (error != -ETXTBSY)
			break;
		nanosleep(&pause, NULL);
	}
	rqs_complain("%s: %s", placing->path, strerror(-error));
	return error == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
}

/* "/dev/fd/3", as fexecve has it. */
static void name_descriptor(struct rqs_placing *placing, const char *number)
{
	static char path[32];

	placing->file = (int)strtol(number, NULL, 10);
	snprintf(path, sizeof(path), "/dev/fd/%d", placing->file);
	placing->path = path;
}

static bool take_option(struct rqs_placing *placing, int option)
{
	switch (option) {
	case OPT_SESSION:
		placing->token = optarg;
		return true;
	case OPT_PATH:
		placing->path = optarg;
		return true;
	case OPT_FD:
		name_descriptor(placing, optarg);
		return true;
	case OPT_FD_UNTIL_EXEC:
		name_descriptor(placing, optarg);
		placing->until_exec = true;
		return true;
	default:
		return false;
	}
}

static int place(int argc, char **argv)
{
	const char *session = getenv(RQS_ENV_SESSION);
	struct rqs_placing placing = {
	    .token = session ? session : "", .file = -1, .no_sched = getenv(RQS_ENV_NO_SCHED) != NULL, .why = -1};
	int option;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
		if (option == OPT_HELP) {
			rqs_print_usage(&rqs_command_place);
			return RQS_EXIT_OK;
		}
		if (!take_option(&placing, option)) {
			rqs_complain("place: bad argument '%s'", argv[optind - 1]);
			return RQS_EXIT_USAGE;
		}
	}
	if (!placing.path || optind == argc) {
		rqs_complain("place: --path and a NAME are needed");
		return RQS_EXIT_USAGE;
	}
	return become(&placing, argv + optind);
}

const struct rqs_command rqs_command_place = {"place", NULL, usage, place};
