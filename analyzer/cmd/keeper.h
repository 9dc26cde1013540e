/*
 * keeper.h - what `attach` and the process that does its work say to each
 * other.
 *
 *    attach --+-- collector  ends when the socket `stop` ends, and writes the end
 *             +-- keeper     attaches, and when anybody of us or the target ends, detaches
 *
 * The keeper alone has the other end of that socket (collect/keeper_words.h): its
 * death ends the recording, too. It is in a session of its own with all signals blocked, so
 * that the one who attached can be interrupted and killed without harm to the
 * target: then its side of the channel ends, which is the word to detach.
 */
#ifndef CMD_KEEPER_H
#define CMD_KEEPER_H

#include "inject/plan.h"

#include <stdint.h>

/* The name of the command that is the keeper. */
#define RQS_KEEPER_COMMAND "attach-keeper"

enum rqs_keeper_event {
	RQS_KEEPER_ATTACHED, /* or not; said once, unless there is only to detach */
	RQS_KEEPER_MISSED,   /* a child process isn't recorded */
	RQS_KEEPER_BUSY,     /* with the next one: nothing hangs */
	RQS_KEEPER_DETACHED, /* the last message */
};

/* A message on the channel (AF_UNIX, SOCK_SEQPACKET), from the keeper. */
struct rqs_keeper_word {
	int32_t event;
	int32_t error;       /* 0, or -errno as attach.h of inject has it */
	int32_t pid;         /* whose error it is */
	uint32_t processes;  /* attached to, or, at the end, found and detached from */
	uint64_t stopped_ns; /* the longest that a thread was kept from running */
	char why[RQS_REASON];
};

#endif
