/*
 * inputs.h - the traces that are to be united: what each is, its place on the
 * common clock, and the numbers of its processes in the united trace.
 *
 * The common clock is the wall clock: a time becomes time + shift, where shift
 * is what the run frame says was between the two clocks, rounded down to a
 * whole us, so that uniting in several steps gives the same times as in one.
 */
#ifndef REQSCOPE_INPUTS_H
#define REQSCOPE_INPUTS_H

#include "model/trace.h"

#define RQS_PROCESSES_MAX 65536u

struct rqs_input {
	const char *file;
	char *fatal; /* why it can't be united with others, or NULL */
	struct rqs_reader reader;
	struct rqs_scan scan;
	cJSON *run;
	cJSON *totals;        /* the last totals or the end frame, or NULL */
	uint64_t start;       /* on the common clock */
	uint64_t shift;       /* to it; wraps */
	uint64_t last_offset; /* of the last frame that counts */

	unsigned mapped;
	uint32_t *process; /* + 1, by its number in this trace; 0: none yet */

	/* The pass over the rows. */
	struct rqs_frame frame; /* the next one with rows */
	bool more;              /* there is one */
	uint64_t sampled;       /* samples before this time have all been seen; on the common clock */
};

struct rqs_inputs {
	unsigned count;
	struct rqs_input *input;
	unsigned processes;    /* of all, so far */
	bool too_many;         /* ... and there were more */
	rqs_progress progress; /* or NULL */
	void *progress_context;
};

/* Opens and checks all of them, row by row. Look at each one's fatal and scan. `file`s must outlive the inputs. */
void rqs_inputs_open(struct rqs_inputs *inputs, char *const *files, unsigned count, rqs_progress progress,
		     void *context);
void rqs_inputs_close(struct rqs_inputs *inputs);

/* The number of a process in the united trace, given when it is first asked for. 0, and too_many, beyond the last. */
uint32_t rqs_inputs_process(struct rqs_inputs *inputs, struct rqs_input *input, uint64_t process);

/* Nothing is missing from it. */
bool rqs_input_is_whole(const struct rqs_input *input);

#endif
