/*
 * clock.h - the collector's clock: it ties the ticks that the agent writes to
 * nanoseconds of CLOCK_MONOTONIC.
 *
 * A calibration keeps two anchors, instants read on both clocks: the first and
 * the latest. The rate is the slope between them, so it gets better with the
 * length of the run; times count from the latest anchor, so they follow the
 * slewing of CLOCK_MONOTONIC.
 */
#ifndef COLLECT_CLOCK_H
#define COLLECT_CLOCK_H

#include "reqscope/region.h"

struct rqs_calibration {
	enum rqs_clock clock;
	uint64_t first_ticks, first_ns;
	uint64_t latest_ticks, latest_ns;
	uint64_t ns_per_tick; /* fixed point, 32 bits of fraction */
};

/* Chooses the clock and measures its rate: takes about 20 ms. */
void rqs_calibration_start(struct rqs_calibration *calibration);

/* Takes a new anchor; to be called about once a second. */
void rqs_calibration_refresh(struct rqs_calibration *calibration);

/* The arithmetic of both: the next instant on both clocks. For tests. */
void rqs_calibration_anchor(struct rqs_calibration *calibration, uint64_t ticks, uint64_t ns);

/* The time now, in ticks of the calibration's clock. */
uint64_t rqs_calibration_ticks(const struct rqs_calibration *calibration);

uint64_t rqs_calibration_ticks_per_second(const struct rqs_calibration *calibration);

/* Ticks to ns of CLOCK_MONOTONIC; 0 for an instant before that clock's 0. */
uint64_t rqs_calibration_ns(const struct rqs_calibration *calibration, uint64_t ticks);

/* The ns between two instants in ticks; 0 when `to` is not after `from`. */
uint64_t rqs_calibration_span(const struct rqs_calibration *calibration, uint64_t from, uint64_t to);

/* CLOCK_MONOTONIC and CLOCK_REALTIME now, in ns. */
uint64_t rqs_monotonic_ns(void);
uint64_t rqs_realtime_ns(void);

#endif
