/*
 * collector.h - the collector as a child process of the commands that start
 * one: from its start to what it says at the end.
 */
#ifndef CMD_COLLECTOR_H
#define CMD_COLLECTOR_H

#include "collect/session.h"
#include "reqscope/region.h"

#include <stdbool.h>
#include <sys/types.h>

struct rqs_collector_order {
	const char *who; /* the command that starts it, for what is said when it can't be */
	const char *token;
	const char *mode;
	pid_t pid; /* the main target */
	const char *out;
	bool force;
	const char *label;    /* NULL none, like the next */
	const char *duration; /* as the user wrote it */
	uint64_t sample_bytes; /* 0: no samples of allocations */
	int stop;             /* -1 none; else the keeper's socket (collect/keeper_words.h) */
	char *const *command; /* NULL: that of `pid` */
};

struct rqs_collector {
	pid_t pid;  /* 0 when it has ended */
	int report; /* nothing more is written there, and nobody has it open: it has ended */
	struct rqs_session_report result;
	size_t result_length;
};

/* Of a session, RQS_TOKEN_LENGTH digits and a NUL. False: there is none, which has been said. */
bool rqs_collector_make_token(const char *who, char *token);

/* Returns when processes may join. False: it couldn't be, which has been said. */
bool rqs_collector_start(struct rqs_collector *collector, const struct rqs_collector_order *order);

/* A piece of the result, once `report` can be read. False: it is whole, or there is no more, as the collector is dead.
 */
bool rqs_collector_take_result(struct rqs_collector *collector);
bool rqs_collector_has_result(const struct rqs_collector *collector);

/* Closes what is open, and waits for its end, which is near; half a minute at most. */
void rqs_collector_end(struct rqs_collector *collector);

/* What was lost, and what went wrong, on standard error; nothing where nothing did. */
void rqs_collector_print_losses(const struct rqs_session_report *result);

#endif
