/* steps.c - see steps.h. */
#include "collect/steps.h"

#include "collect/clock.h"

#include <string.h>

#define MS 1000000ull
#define TRIES 9
#define CLOSE_NS 100000   /* two looks at one clock that are no further apart tell the other's time */
#define LEAST_NS 200000   /* a smaller step isn't told from how exactly the clocks are read */
#define SLACK_NS (1 * MS) /* times that the agent wrote as ticks are known no worse than that */
/* Longer waits across a step aren't thought of: all would be doubtful for as long as it went back. */
#define LONGEST_NS (600000 * (int64_t)MS)

void rqs_steps_look(struct rqs_steps *steps)
{
	uint64_t best_before = 0, best_after = CLOSE_NS, best_real = 0;

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = rqs_monotonic_ns(), real = rqs_realtime_ns(), after = rqs_monotonic_ns();

		if (after - before >= best_after - best_before)
			continue;
		best_before = before;
		best_after = after;
		best_real = real;
	}
	if (best_real)
		rqs_steps_note(steps, best_before, best_after,
			       (int64_t)(best_real - best_before - (best_after - best_before) / 2));
}

/* The two oldest: what ended long ago and is told only now, as its answer took so long, is rare. */
static void unite_oldest(struct rqs_steps *steps)
{
	steps->step[1].from_ns = steps->step[0].from_ns;
	steps->step[1].by_ns += steps->step[0].by_ns;
	memmove(&steps->step[0], &steps->step[1], --steps->count * sizeof(steps->step[0]));
}

void rqs_steps_note(struct rqs_steps *steps, uint64_t before_ns, uint64_t after_ns, int64_t ahead_ns)
{
	int64_t by = ahead_ns - steps->ahead_ns;
	bool stepped = steps->looked_ns && (by > LEAST_NS || by < -LEAST_NS);

	if (stepped && steps->count == RQS_STEPS_KEPT)
		unite_oldest(steps);
	if (stepped) {
		steps->step[steps->count].from_ns = steps->looked_ns;
		steps->step[steps->count].to_ns = after_ns;
		steps->step[steps->count].by_ns = by;
		steps->count++;
	}
	if (stepped || !steps->looked_ns)
		steps->ahead_ns = ahead_ns;
	steps->looked_ns = before_ns;
}

bool rqs_steps_leave(struct rqs_steps *steps, uint64_t end_ns, uint64_t wait_ns)
{
	int64_t by = 0;

	if (end_ns > steps->looked_ns)
		rqs_steps_look(steps);
	if (end_ns > steps->looked_ns)
		return false; /* the look didn't succeed */
	for (uint32_t i = steps->count; i-- > 0;) {
		if (end_ns + SLACK_NS < steps->step[i].from_ns)
			continue; /* it ended before */
		if (end_ns < steps->step[i].to_ns + SLACK_NS)
			return false;
		by += steps->step[i].by_ns;
		int64_t really = (int64_t)wait_ns - by;
		/* If it began before the step. */
		if (really >= 0 && really < LONGEST_NS && end_ns - (uint64_t)really < steps->step[i].to_ns + SLACK_NS)
			return false;
	}
	return true;
}
