/*
 * keeper_words.h - what the collector of an attached session and the process that
 * attaches (the keeper) say to each other, on a socket (AF_UNIX,
 * SOCK_SEQPACKET) whose end ends the recording, too:
 *
 *    keeper                                collector
 *    BEGUN: hooks are in                   --duration counts from here
 *    STOP: the recording is to end         agents are told; all that they wrote is read
 *                                          one byte: nothing more is read, also where it ended by itself
 *    OVER: hooks are out                   the end frame tells how it went
 */
#ifndef COLLECT_KEEPER_WORDS_H
#define COLLECT_KEEPER_WORDS_H

#include <stdbool.h>
#include <stdint.h>

enum rqs_attach_event { RQS_ATTACH_BEGUN = 1, RQS_ATTACH_STOP, RQS_ATTACH_OVER };

struct rqs_attach_word {
	uint32_t event;
	uint32_t processes;  /* attached to, or detached from */
	uint64_t stopped_ns; /* the longest that a thread was kept from running */
};

/* What it has heard so far. */
struct rqs_attached {
	uint64_t begun_ns; /* CLOCK_MONOTONIC; 0: not yet */
	uint32_t pid;
	uint32_t processes;
	uint64_t attach_stopped_ns, detach_stopped_ns;
	bool detached; /* has been told; else detach_stopped_ns isn't known */
};

/* A word, where one is there. True: the recording is to end. */
bool rqs_attached_hear(struct rqs_attached *attached, int fd);

/* Says that nothing more is read, and waits until the hooks are out, for two minutes at most. */
void rqs_attached_finish(struct rqs_attached *attached, int fd);

#endif
