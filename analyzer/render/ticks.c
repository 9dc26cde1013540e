/* ticks.c - ticks are 1, 2 or 5 times a power of ten, in the unit that people would take. */
#include "render/ticks.h"
#include "base/alloc.h"

#include <math.h>

#define WANTED 5   /* ticks of a linear axis, about */
#define LOG_MOST 8 /* ticks of a logarithmic one: with more, only some decades have one */
#define CLOSE 1e-9 /* what rounding does to a multiple */

static const double round_numbers[] = {1, 2, 5};
#define ROUND_NUMBERS (sizeof(round_numbers) / sizeof(round_numbers[0]))

static const double tail_ticks[] = {0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999};

struct unit {
	double from, size; /* taken from this value on */
	const char *name;
};

/* The last of a list begins at 0. */
static const struct unit seconds[] = {{7200, 3600, " h"},  {240, 60, " min"},   {1, 1, " s"},
				      {1e-3, 1e-3, " ms"}, {1e-6, 1e-6, " µs"}, {0, 1e-9, " ns"}};
static const struct unit bytes[] = {
    {1e12, 1e12, " TB"}, {1e9, 1e9, " GB"}, {1e6, 1e6, " MB"}, {1e3, 1e3, " kB"}, {0, 1, " B"}};
static const struct unit rates[] = {{1e9, 1e9, " G/s"}, {1e6, 1e6, " M/s"}, {1e4, 1e3, " k/s"}, {0, 1, "/s"}};
static const struct unit counts[] = {{1e6, 1e6, " M"}, {1e4, 1e3, " k"}, {0, 1, ""}};
static const struct unit parts[] = {{0, 0.01, " %"}};

static const struct unit *const units[] = {
    [RQS_AXIS_SECONDS] = seconds, [RQS_AXIS_BYTES] = bytes, [RQS_AXIS_RATE] = rates,
    [RQS_AXIS_COUNT] = counts,    [RQS_AXIS_PART] = parts,
};

static const struct unit *unit_for(enum rqs_axis_unit unit, double value)
{
	const struct unit *u = units[unit];

	while (u->from > 0 && fabs(value) < u->from * (1 - CLOSE))
		u++;
	return u;
}

/* Of a linear axis all ticks have one unit. */
static const struct unit *unit_of(const struct rqs_scale *s, double value)
{
	return unit_for(s->unit, s->kind == RQS_AXIS_LOG ? value : fmax(fabs(s->low), fabs(s->high)));
}

static void add(struct rqs_scale *s, double tick)
{
	if (s->ticks < RQS_TICKS_MAX)
		s->tick[s->ticks++] = tick;
}

/* ---- linear ---- */

static double round_up(double v)
{
	double power = pow(10, floor(log10(v)));

	for (unsigned i = 0; i < ROUND_NUMBERS; i++)
		if (round_numbers[i] * power >= v * (1 - CLOSE))
			return round_numbers[i] * power;
	return 10 * power;
}

static void make_linear(struct rqs_scale *s, bool rounded)
{
	if (!(s->high > s->low))
		s->high = s->low + (s->low != 0 ? fabs(s->low) : 1);
	double size = unit_of(s, s->high)->size;
	double step = round_up((s->high - s->low) / size / WANTED) * size;

	if (rounded) {
		s->low = floor(s->low / step + CLOSE) * step;
		s->high = ceil(s->high / step - CLOSE) * step;
	}
	double first = ceil(s->low / step - CLOSE), last = floor(s->high / step + CLOSE);
	for (double i = first; i <= last && s->ticks < RQS_TICKS_MAX; i++)
		add(s, i * step + 0.0); /* -0 is 0 */
}

/* ---- logarithmic ---- */

/* The n-th of all round numbers: 0 is 1, 1 is 2, 3 is 10, -1 is 0.5. */
static double round_number(double n)
{
	double decade = floor(n / ROUND_NUMBERS);

	return round_numbers[(unsigned)(n - decade * ROUND_NUMBERS)] * pow(10, decade);
}

static void make_log(struct rqs_scale *s)
{
	double first = floor(log10(s->low)) * ROUND_NUMBERS;

	while (round_number(first + 1) <= s->low * (1 + CLOSE))
		first++;
	double last = first + 1;
	while (round_number(last) < s->high * (1 - CLOSE))
		last++;
	s->low = round_number(first);
	s->high = round_number(last);
	unsigned every = 1;
	while ((last - first) / every + 1 > LOG_MOST)
		every = every == 1 ? ROUND_NUMBERS : every + ROUND_NUMBERS;
	for (double n = ceil(first / every) * every; n <= last; n += every)
		add(s, round_number(n));
}

/* ---- of a quantile ---- */

static void make_tail(struct rqs_scale *s)
{
	bool is_long = s->high >= 0.99; /* then 0 and 50 % are so near that one is enough */

	for (unsigned i = is_long; i < sizeof(tail_ticks) / sizeof(tail_ticks[0]); i++)
		if (tail_ticks[i] >= s->low && tail_ticks[i] <= s->high)
			add(s, tail_ticks[i]);
}

struct rqs_scale rqs_scale_make(const struct rqs_axis *axis, double low, double high, bool rounded)
{
	struct rqs_scale s = {.unit = axis->unit, .kind = axis->scale, .low = low, .high = high};

	switch (s.kind) {
	case RQS_AXIS_LINEAR:
		make_linear(&s, rounded);
		break;
	case RQS_AXIS_LOG:
		make_log(&s);
		break;
	case RQS_AXIS_TAIL:
		make_tail(&s);
		break;
	}
	return s;
}

static double coordinate(const struct rqs_scale *s, double value)
{
	switch (s->kind) {
	case RQS_AXIS_LOG:
		return value > 0 ? log10(value) : NAN;
	case RQS_AXIS_TAIL:
		return value < 1 ? -log10(1 - value) : NAN;
	case RQS_AXIS_LINEAR:
		break;
	}
	return value;
}

double rqs_scale_place(const struct rqs_scale *s, double value)
{
	double low = coordinate(s, s->low), high = coordinate(s, s->high);

	return high > low ? (coordinate(s, value) - low) / (high - low) : 0.5;
}

char *rqs_tick_text(const struct rqs_scale *s, double tick)
{
	const struct unit *u = unit_of(s, tick);

	if (tick == 0 && s->unit != RQS_AXIS_PART)
		return rqs_format("0");
	return rqs_format("%.6g%s", tick / u->size, u->name);
}
