/*
 * steps.h - steps of the wall clock, and which waits they make doubtful.
 *
 * The kernel stamps what arrives by CLOCK_REALTIME, and the agent takes the
 * time of its read from the same clock; all else counts by CLOCK_MONOTONIC.
 * Slewing moves both clocks alike, so that their distance changes by a step
 * alone. A wait with a step in it is wrong by as much.
 */
#ifndef COLLECT_STEPS_H
#define COLLECT_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#define RQS_STEPS_KEPT 16u

/* Times are ns of CLOCK_MONOTONIC. All zero: the clocks were never looked at. */
struct rqs_steps {
	uint64_t looked_ns; /* what happened until then is known */
	int64_t ahead_ns;   /* CLOCK_REALTIME less CLOCK_MONOTONIC, at that time */
	struct {
		uint64_t from_ns, to_ns; /* it happened in between */
		int64_t by_ns;
	} step[RQS_STEPS_KEPT]; /* the oldest first, which may be several in one */
	uint32_t count;
};

/* Looks at both clocks. */
void rqs_steps_look(struct rqs_steps *steps);

/* The arithmetic of that: the wall clock was so far ahead at a time between these two. For tests. */
void rqs_steps_note(struct rqs_steps *steps, uint64_t before_ns, uint64_t after_ns, int64_t ahead_ns);

/* Whether a wait that ended then, and seemed that long, was as long: no step can have been in it. Looks if it must. */
bool rqs_steps_leave(struct rqs_steps *steps, uint64_t end_ns, uint64_t wait_ns);

#endif
