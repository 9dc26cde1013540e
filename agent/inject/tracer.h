/*
 * tracer.h - the process that places our code: it traces one that is about to
 * become a Go program (placing.h), does its work at the exec, and is gone.
 */
#ifndef REQSCOPE_TRACER_H
#define REQSCOPE_TRACER_H

#include "reqscope/region.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

/* The name of the command that is the tracer; its argument is the channel's descriptor. */
#define RQS_TRACER_COMMAND "trace-exec"

/* The first message on the channel (AF_UNIX, SOCK_SEQPACKET), to the tracer: all it needs to know. */
struct rqs_tracer_order {
	int32_t pid;    /* that becomes the program */
	int32_t region; /* the session's; the tracer has it by the same number */
	int32_t why;    /* likewise: gets the reason as text when the program runs unhooked; -1 nobody asks */
	bool foreign_pids;
	bool no_sched;
	uint64_t region_size;
	char token[RQS_TOKEN_LENGTH + 1];
	char path[PATH_MAX];    /* of the program, as for exec */
	char program[PATH_MAX]; /* of ours, that Go programs run in their turn */
};

/* The other messages, one int each. The tracer begins, with its pid when the program is to be hooked. */
enum rqs_tracer_word {
	RQS_TRACER_DONE = -1,      /* <- nothing more to wait for: not a Go program, or what is in the way was told */
	RQS_TRACER_MAY_ATTACH = 1, /* -> */
	RQS_TRACER_ATTACHED,       /* <- */
	RQS_TRACER_EXEC_NEXT,      /* -> without this word an exec isn't the one to work on */
	RQS_TRACER_LET_GO,         /* -> the exec failed; answered by the same word */
};

/* Waiting for the other side's next word, at most. */
#define RQS_TRACER_PATIENCE_MS 3000

/* The tracer's life. All signals must be blocked. */
void rqs_tracer_live(int channel);

#endif
