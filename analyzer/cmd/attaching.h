/* attaching.h - the parts of the command `attach`; its processes are in keeper.h. */
#ifndef CMD_ATTACHING_H
#define CMD_ATTACHING_H

#include "cmd/collector.h"
#include "cmd/keeper.h"
#include "cmd/recording_options.h"

#include <stdbool.h>
#include <sys/types.h>

struct attaching {
	pid_t pid; /* of the target */
	char name[32];
	struct rqs_recording_options options;
	char default_out[64];
	char kept[PATH_MAX]; /* a trace that is to be replaced, as long as it isn't */
	bool has_kept;
	bool children;
	char token[RQS_TOKEN_LENGTH + 1];
	int signals; /* signalfd */
	struct rqs_collector collector;
	bool has_trace; /* of the collector's making */
	bool collected; /* the collector's result is in, or it is dead */
	pid_t keeper;
	int channel;                         /* to the keeper; -1 when that has ended */
	bool recording;                      /* has begun at any time */
	bool is_asked;                       /* the keeper is to detach */
	bool is_detached;                    /* and said that it did */
	bool is_left;                        /* they are to end without us */
	uint64_t asked_ms, patience_ends_ms; /* CLOCK_MONOTONIC */
	unsigned keepers;                    /* started so far */
	uint32_t missed;                     /* child processes that aren't recorded */
	struct rqs_keeper_word begun, first_missed, end;
};

/* attach_target.c: what is wrong with the target, and what to do about it, on standard error. */

/* False: it can't be attached to, which needs no trying. Sets its name. */
bool rqs_attach_check_target(struct attaching *attaching);
/* Why it wasn't. */
void rqs_attach_explain(const struct attaching *attaching);

/* attach_wait.c: from the processes' start to their end. False: they couldn't be started, which has been said. */
bool rqs_attach_start(struct attaching *attaching, int stop[2]);
void rqs_attach_wait(struct attaching *attaching);

#endif
