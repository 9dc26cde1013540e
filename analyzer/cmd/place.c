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

static const char usage[] = "usage: reqscope place [--session T] --path FILE -- NAME [ARGUMENT...]\n"
			    "\n"
			    "Becomes the program FILE, called NAME, and records it if it is written in Go and\n"
			    "linked statically. It is put before such programs by what records their\n"
			    "starters; there is no need to call it.\n"
			    "\n"
			    "  --path FILE    the program\n"
			    "  --session T    the session (default $REQSCOPE_SESSION)\n";

enum option_id {
	OPT_SESSION = 1,
	OPT_PATH,
	OPT_HELP,
};

static const struct option long_options[] = {
    {"session", required_argument, NULL, OPT_SESSION},
    {"path", required_argument, NULL, OPT_PATH},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* Returns only where the program can't be executed. */
static int become(const char *session, const char *path, char **argv)
{
	struct rqs_siblings siblings;
	struct rqs_placing placing = {
	    .token = session ? session : "",
	    .tracer = siblings.program,
	    .program = siblings.placer,
	    .no_sched = getenv(RQS_ENV_NO_SCHED) != NULL,
	    .why = -1,
	};
	const struct timespec pause = {0, BUSY_PAUSE_NS};
	int error = 0;

	rqs_siblings_find(&siblings);
	for (int i = 0; i < BUSY_TRIES; i++) {
		error = rqs_place_exec(&placing, path, argv, environ);
		if (error != -ETXTBSY)
			break;
		nanosleep(&pause, NULL);
	}
	rqs_complain("%s: %s", path, strerror(-error));
	return error == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
}

static int place(int argc, char **argv)
{
	const char *session = getenv(RQS_ENV_SESSION), *path = NULL;
	int option;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
		switch (option) {
		case OPT_SESSION:
			session = optarg;
			break;
		case OPT_PATH:
			path = optarg;
			break;
		case OPT_HELP:
			rqs_print_usage(&rqs_command_place);
			return RQS_EXIT_OK;
		default:
			rqs_complain("place: bad argument '%s'", argv[optind - 1]);
			return RQS_EXIT_USAGE;
		}
	}
	if (!path || optind == argc) {
		rqs_complain("place: --path and a NAME are needed");
		return RQS_EXIT_USAGE;
	}
	return become(session, path, argv + optind);
}

const struct rqs_command rqs_command_place = {"place", NULL, usage, place};
