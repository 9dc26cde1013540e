/*
 * run.h - the parts of the command `run`.
 *
 *    run --+-- CMD        waits at a gate until the collector is ready
 *          +-- collector  a session of its own; ends when the recording does
 *
 * CMD is to see no difference: its standard streams, signals and dispositions
 * are as they would be without us.
 */
#ifndef CMD_RUN_H
#define CMD_RUN_H

#include "cmd/collector.h"
#include "cmd/program.h"
#include "cmd/recording_options.h"
#include "inject/plan.h"

#include <signal.h>
#include <sys/types.h>

struct run {
	struct rqs_recording_options options;
	char default_out[64];
	char **command;
	char path[PATH_MAX];    /* of the program */
	char library[PATH_MAX]; /* of the agent; "" for none */
	enum rqs_program_kind kind;
	char token[RQS_TOKEN_LENGTH + 1];
	sigset_t old_mask;
	struct sigaction old_child;
	int signals; /* signalfd */
	pid_t child; /* CMD; 0 when it has ended */
	struct rqs_collector collector;
	int status;     /* CMD's exit status, as ours */
	int gate;       /* closing it unopened ends the waiting child */
	int exec_error; /* tells the errno of a failed exec */
	int unhooked;   /* tells why CMD, a Go program, isn't hooked; -1 once that is decided */
	bool is_unhooked;
	bool reported; /* the result is in */
};

/* run_start.c: the two processes. False: it couldn't be, which has been said. */
bool rqs_run_start_child(struct run *run);
bool rqs_run_start_collector(struct run *run);
/* Lets CMD go. False when it couldn't be executed. */
bool rqs_run_open_gate(struct run *run);

/* run_wait.c */
bool rqs_run_take_signals(struct run *run);
void rqs_run_give_signals_back(const struct run *run);
/* Until CMD has ended and the recording, too. */
void rqs_run_wait(struct run *run);

/* run_result.c: when there is something to read on `unhooked`, or of the result; what it says is printed. */
void rqs_run_read_unhooked(struct run *run);
void rqs_run_read_result(struct run *run);

#endif
