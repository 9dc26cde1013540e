/* gate_syntax.c - reading a gate. */
#include "report/gates.h"
#include "base/alloc.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* X(unit, figure's unit, factor): "%" is for all figures. */
#define UNITS(X)                                                                                                       \
	X("ns", SECONDS, 1e-9)                                                                                         \
	X("us", SECONDS, 1e-6)                                                                                         \
	X("\u00b5s", SECONDS, 1e-6)                                                                                    \
	X("ms", SECONDS, 1e-3)                                                                                         \
	X("s", SECONDS, 1)                                                                                             \
	X("B", BYTES, 1)                                                                                               \
	X("kB", BYTES, 1e3)                                                                                            \
	X("KB", BYTES, 1e3)                                                                                            \
	X("MB", BYTES, 1e6)                                                                                            \
	X("GB", BYTES, 1e9)                                                                                            \
	X("KiB", BYTES, 1024)                                                                                          \
	X("MiB", BYTES, 1048576)                                                                                       \
	X("GiB", BYTES, 1073741824)                                                                                    \
	X("pp", PART, 0.01)                                                                                            \
	X("%", PART, 0.01)                                                                                             \
	X("/s", RATE, 1)                                                                                               \
	X("", COUNT, 1)                                                                                                \
	X("", RATE, 1)

static const struct {
	const char *name;
	enum rqs_figure_unit unit;
	double factor;
} units[] = {
#define UNIT(name, unit, factor) {name, RQS_FIGURE_##unit, factor},
    UNITS(UNIT)
#undef UNIT
};

static const char *unit_names(enum rqs_figure_unit unit)
{
	switch (unit) {
	case RQS_FIGURE_SECONDS:
		return "%, ns, us, ms or s";
	case RQS_FIGURE_BYTES:
		return "%, B, kB, MB, GB, KiB, MiB or GiB";
	case RQS_FIGURE_PART:
		return "% or pp";
	case RQS_FIGURE_RATE:
		return "% or /s";
	case RQS_FIGURE_COUNT:
		break;
	}
	return "% or none";
}

static char *trimmed(const char *text, size_t length)
{
	while (length && isspace((unsigned char)*text)) {
		text++;
		length--;
	}
	while (length && isspace((unsigned char)text[length - 1]))
		length--;
	return rqs_strndup(text, length);
}

/* The bound's number and unit. A percentage with a sign is a ratio. */
static char *take_bound(struct rqs_gate *gate, const char *text)
{
	bool sign = *text == '+' || *text == '-';
	enum rqs_figure_unit wanted = rqs_figures[gate->figure].unit;
	char *unit;
	double value = strtod(text, &unit);

	if (unit == text || !isfinite(value))
		return rqs_format("'%s' is no number", text);
	while (isspace((unsigned char)*unit))
		unit++;
	if (sign && !strcmp(unit, "%")) {
		gate->kind = RQS_GATE_RATIO;
		gate->bound = value / 100;
		return gate->bound > -1 ? NULL : rqs_format("'%s' leaves nothing", text);
	}
	gate->kind = sign ? RQS_GATE_DIFFERENCE : RQS_GATE_LIMIT;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].unit == wanted && !strcmp(units[i].name, unit)) {
			gate->bound = value * units[i].factor;
			return NULL;
		}
	return rqs_format("the unit of %s is %s, not '%s'", rqs_figures[gate->figure].name, unit_names(wanted), unit);
}

/* "ROUTE:FIGURE" or "FIGURE"; a route may have colons in it. */
static char *take_subject(struct rqs_gate *gate, const char *text, size_t length)
{
	const char *colon = memrchr(text, ':', length);
	char *figure = colon ? trimmed(colon + 1, (size_t)(text + length - colon - 1)) : trimmed(text, length);
	bool found = rqs_figure_find(figure, strlen(figure), &gate->figure);
	char *problem = NULL;

	if (!found && !strcmp(figure, "errors")) {
		gate->figure = RQS_FIGURE_ERROR_RATE;
		found = true;
	}
	if (!found)
		problem =
		    rqs_format("no figure '%s'; p99, throughput, errors, alloc_bytes and rss_peak are some", figure);
	if (colon)
		gate->route = trimmed(text, (size_t)(colon - text));
	if (found && gate->route && rqs_figures[gate->figure].scope != RQS_SCOPE_ROUTE)
		problem = rqs_format("%s is of the whole process, not of a route", figure);
	free(figure);
	return problem;
}

/* A ceiling for what is better when low, a floor for the other: a gate the other way round would always pass. */
static char *check_direction(const struct rqs_gate *gate)
{
	const struct rqs_figure_info *f = &rqs_figures[gate->figure];
	bool relative = gate->kind != RQS_GATE_LIMIT;

	if (f->better == RQS_BETTER_NEITHER && relative)
		return rqs_format("%s is neither better high nor low; give a limit without a sign", f->name);
	if (f->better == RQS_BETTER_LOWER && !gate->at_most)
		return rqs_format("%s is better when it is lower: use <=", f->name);
	if (f->better == RQS_BETTER_HIGHER && gate->at_most)
		return rqs_format("%s is better when it is higher: use >=", f->name);
	return NULL;
}

static char *parse(struct rqs_gate *gate, const char *text)
{
	const char *at = strstr(text, "<=");
	char *problem;

	gate->text = text;
	gate->at_most = at != NULL;
	if (!at)
		at = strstr(text, ">=");
	if (!at)
		return rqs_format("it has no <= or >=");
	problem = take_subject(gate, text, (size_t)(at - text));
	if (!problem) {
		char *bound = trimmed(at + 2, strlen(at + 2));

		problem = take_bound(gate, bound);
		free(bound);
	}
	return problem ? problem : check_direction(gate);
}

char *rqs_gates_add(struct rqs_gates *g, const char *text)
{
	struct rqs_gate gate = {0};
	char *problem = parse(&gate, text);

	if (problem) {
		char *whole = rqs_format("gate '%s': %s", text, problem);

		free(problem);
		free(gate.route);
		return whole;
	}
	g->gate = rqs_grow(g->gate, g->count + 1, sizeof(*g->gate));
	g->gate[g->count++] = gate;
	return NULL;
}

void rqs_gates_free(struct rqs_gates *g)
{
	for (unsigned i = 0; i < g->count; i++)
		free(g->gate[i].route);
	free(g->gate);
	free(g->result);
	memset(g, 0, sizeof(*g));
}
