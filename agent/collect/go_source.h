/*
 * go_source.h - where a Go process keeps its runtime's figures: told by a
 * greeting, kept until the process is there, read with each of its samples.
 */
#ifndef COLLECT_GO_SOURCE_H
#define COLLECT_GO_SOURCE_H

#include "reqscope/region.h"

/* Processes that were told of and haven't claimed their slots yet. */
#define RQS_GO_EXPECTED 64

struct rqs_go_source {
	int mem; /* /proc/PID/mem, -1 none. It stays that image's: after an exec it reads nothing */
	struct rqs_go_facts facts;
};

struct rqs_go_expected {
	unsigned count;
	struct rqs_go_arrival {
		struct rqs_go_source source;
		uint64_t since_ns;
	} arrivals[RQS_GO_EXPECTED];
};

struct rqs_processes;
struct rqs_sample_row;

/* Keeps the facts, and `mem` as its own. Of one process the newest count; where there is no room the oldest go. */
void rqs_go_expect(struct rqs_go_expected *expected, const struct rqs_go_facts *facts, int mem, uint64_t now_ns);

/* Hands the facts to the processes that have appeared; gives up on those that don't. */
void rqs_go_settle(struct rqs_go_expected *expected, struct rqs_processes *processes, uint64_t now_ns);

void rqs_go_forget_all(struct rqs_go_expected *expected);

/* Fills in the row's figures of the runtime: null where they can't be read or can't be. */
void rqs_go_read(const struct rqs_go_source *source, struct rqs_sample_row *row);

#endif
