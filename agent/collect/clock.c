/* clock.c - calibrates the time stamp counter against CLOCK_MONOTONIC. */
#include "collect/clock.h"

#include <cpuid.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#define NS_PER_S 1000000000ull
#define FIRST_SPAN_NS 20000000 /* between the first two anchors: the rate is then good to a few ppm */
#define TRIES 9
#define JUMP_NS 2000000 /* an anchor this far from where the rate puts it: the machine slept, or was moved */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t rqs_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t rqs_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

static uint64_t read_tsc(void)
{
	_mm_lfence();
	uint64_t ticks = __rdtsc();
	_mm_lfence();
	return ticks;
}

/* The kernel takes "tsc" from this list when it has found the counters to disagree. */
static bool kernel_trusts_tsc(void)
{
	char line[256] = "";
	FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/available_clocksource", "re");

	if (!file)
		return true; /* a sandbox without /sys: the CPU's word has to do */
	bool got = fgets(line, sizeof(line), file) != NULL;
	fclose(file);
	return !got || strstr(line, "tsc");
}

static bool tsc_is_invariant(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8)) && kernel_trusts_tsc();
}

/* One instant on both clocks: of several tries the one whose two counter reads are the closest. */
static void read_both(uint64_t *ticks, uint64_t *ns)
{
	uint64_t tightest = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = read_tsc();
		uint64_t now = rqs_monotonic_ns();
		uint64_t after = read_tsc();

		if (after - before < tightest) {
			tightest = after - before;
			*ticks = before + (after - before) / 2;
			*ns = now;
		}
	}
}

void rqs_calibration_start(struct rqs_calibration *calibration)
{
	struct timespec pause = {0, FIRST_SPAN_NS};

	memset(calibration, 0, sizeof(*calibration));
	calibration->ns_per_tick = 1ull << 32;
	calibration->clock = tsc_is_invariant() ? RQS_CLOCK_TSC : RQS_CLOCK_MONOTONIC;
	if (calibration->clock == RQS_CLOCK_MONOTONIC)
		return;
	rqs_calibration_refresh(calibration);
	nanosleep(&pause, NULL);
	rqs_calibration_refresh(calibration);
}

void rqs_calibration_refresh(struct rqs_calibration *calibration)
{
	uint64_t ticks = 0, ns = 0;

	if (calibration->clock == RQS_CLOCK_MONOTONIC)
		return;
	read_both(&ticks, &ns);
	rqs_calibration_anchor(calibration, ticks, ns);
}

void rqs_calibration_anchor(struct rqs_calibration *calibration, uint64_t ticks, uint64_t ns)
{
	struct rqs_calibration *c = calibration;
	bool first = !c->first_ns, second = !first && c->latest_ticks == c->first_ticks;

	if (!first && (ticks <= c->latest_ticks || ns <= c->latest_ns))
		return;
	if (!first && !second) {
		int64_t off = (int64_t)(rqs_calibration_ns(c, ticks) - ns);

		/* The counter ran through a suspend and the clock didn't: the rate holds, the old anchor doesn't. */
		if (off > JUMP_NS || off < -JUMP_NS)
			first = true;
	}
	if (first) {
		c->first_ticks = ticks;
		c->first_ns = ns;
	} else {
		unsigned __int128 span = (unsigned __int128)(ns - c->first_ns) << 32;

		c->ns_per_tick = (uint64_t)(span / (ticks - c->first_ticks));
	}
	c->latest_ticks = ticks;
	c->latest_ns = ns;
}

uint64_t rqs_calibration_ticks(const struct rqs_calibration *calibration)
{
	return calibration->clock == RQS_CLOCK_TSC ? __rdtsc() : rqs_monotonic_ns();
}

uint64_t rqs_calibration_ticks_per_second(const struct rqs_calibration *calibration)
{
	return (uint64_t)(((unsigned __int128)NS_PER_S << 32) / calibration->ns_per_tick);
}

static uint64_t scale(const struct rqs_calibration *calibration, uint64_t ticks)
{
	return (uint64_t)(((unsigned __int128)ticks * calibration->ns_per_tick) >> 32);
}

uint64_t rqs_calibration_ns(const struct rqs_calibration *calibration, uint64_t ticks)
{
	const struct rqs_calibration *c = calibration;

	if (ticks >= c->latest_ticks)
		return c->latest_ns + scale(c, ticks - c->latest_ticks);
	uint64_t back = scale(c, c->latest_ticks - ticks);
	return back < c->latest_ns ? c->latest_ns - back : 0;
}

uint64_t rqs_calibration_span(const struct rqs_calibration *calibration, uint64_t from, uint64_t to)
{
	return to > from ? scale(calibration, to - from) : 0;
}
