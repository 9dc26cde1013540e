/* join.h - asking a session's collector for its region. Freestanding; system calls only. */
#ifndef REQSCOPE_JOIN_H
#define REQSCOPE_JOIN_H

#include "reqscope/region.h"

#include <stdbool.h>

#define RQS_JOIN_TIMEOUT_SECONDS 3

/* A connection to the collector of the session with that token; -ECONNREFUSED when there is none, or -errno. */
long rqs_join_connect(const char token[RQS_TOKEN_LENGTH]);

/*
 * Joins: a descriptor of the region's memory (CLOEXEC), with *welcome filled,
 * or -errno. Waits up to RQS_JOIN_TIMEOUT_SECONDS for the answer.
 */
int rqs_join(const char token[RQS_TOKEN_LENGTH], struct rqs_welcome *welcome);

/* Waits for fd to be readable, as long as that. */
bool rqs_join_readable(long fd);


/* Tells the collector where a Go process keeps its runtime's figures; memory: its /proc/PID/mem. Never waits. */
void rqs_join_tell_facts(const char token[RQS_TOKEN_LENGTH], const struct rqs_go_facts *facts, int memory);

#endif
