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

/* A gate's text, and where it is being read: in the end where it is wrong. */
struct reading {
	const char *text;
	const char *at;
};

static const char *skip_spaces(const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

/* Without the spaces around it. */
static char *trimmed(const char *text, size_t length)
{
	const char *start = skip_spaces(text);
	const char *end = text + length;

	while (end > start && isspace((unsigned char)end[-1]))
		end--;
	return rqs_strndup(start, end > start ? (size_t)(end - start) : 0);
}

/* The bound's number and unit. A percentage with a sign is a ratio. */
static char *take_bound(struct rqs_gate *gate, struct reading *r)
{
	bool sign = *r->at == '+' || *r->at == '-';
	enum rqs_figure_unit wanted = rqs_figures[gate->figure].unit;
	char *end;
	double value = strtod(r->at, &end);

	if (end == r->at || !isfinite(value))
		return rqs_format("'%s' is no number", r->at);
	char *unit = trimmed(end, strlen(end));
	bool percent = !strcmp(unit, "%");
	char *problem = NULL;

	gate->kind = sign && percent ? RQS_GATE_RATIO : sign ? RQS_GATE_DIFFERENCE : RQS_GATE_LIMIT;
	gate->bound = NAN;
	if (gate->kind == RQS_GATE_RATIO)
		gate->bound = value / 100;
	for (size_t i = 0; isnan(gate->bound) && i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].unit == wanted && !strcmp(units[i].name, unit))
			gate->bound = value * units[i].factor;
	if (isnan(gate->bound)) {
		r->at = skip_spaces(end);
		problem = rqs_format("the unit of %s is %s, not '%s'", rqs_figures[gate->figure].name,
				     unit_names(wanted), unit);
	} else if (gate->kind == RQS_GATE_RATIO && gate->bound <= -1) {
		problem = rqs_format("'%s' leaves nothing", r->at);
	}
	free(unit);
	return problem;
}

/* "ROUTE:FIGURE" or "FIGURE", up to the comparison; a route may have colons in it. */
static char *take_subject(struct rqs_gate *gate, struct reading *r, size_t length)
{
	const char *colon = memrchr(r->text, ':', length);
	const char *start = colon ? colon + 1 : r->text;
	char *figure = trimmed(start, (size_t)(r->text + length - start)), *problem = NULL;
	bool found = rqs_figure_find(figure, strlen(figure), &gate->figure);

	if (!found && !strcmp(figure, "errors")) {
		gate->figure = RQS_FIGURE_ERROR_RATE;
		found = true;
	}
	r->at = skip_spaces(start);
	if (colon)
		gate->route = trimmed(r->text, (size_t)(colon - r->text));
	if (!found)
		problem =
		    rqs_format("no figure '%s'; p99, throughput, errors, alloc_bytes and rss_peak are some", figure);
	else if (gate->route && rqs_figures[gate->figure].scope != RQS_SCOPE_ROUTE)
		problem = rqs_format("%s is of the whole process, not of a route", figure);
	free(figure);
	return problem;
}

/* A ceiling for what is better when low, a floor for the other: a gate the other way round would always pass. */
static char *check_direction(const struct rqs_gate *gate)
{
	const struct rqs_figure_info *f = &rqs_figures[gate->figure];

	if (f->better == RQS_BETTER_NEITHER && gate->kind != RQS_GATE_LIMIT)
		return rqs_format("%s is neither better high nor low; give a limit without a sign", f->name);
	if (f->better == RQS_BETTER_LOWER && !gate->at_most)
		return rqs_format("%s is better when it is lower: use <=", f->name);
	if (f->better == RQS_BETTER_HIGHER && gate->at_most)
		return rqs_format("%s is better when it is higher: use >=", f->name);
	return NULL;
}

/* The last one: a route may have others in it. NULL: none. */
static const char *find_comparison(const char *text)
{
	const char *found = NULL;

	for (const char *p = text; *p; p++)
		if ((*p == '<' || *p == '>') && p[1] == '=')
			found = p;
	return found;
}

static char *parse(struct rqs_gate *gate, struct reading *r)
{
	const char *comparison = find_comparison(r->text);
	char *problem;

	gate->text = r->text;
	gate->at_most = comparison && *comparison == '<';
	if (!comparison) {
		r->at = r->text + strcspn(r->text, "<>=");
		return rqs_format("it has no <= or >=");
	}
	problem = take_subject(gate, r, (size_t)(comparison - r->text));
	if (!problem) {
		r->at = skip_spaces(comparison + 2);
		problem = take_bound(gate, r);
	}
	if (!problem) {
		r->at = comparison;
		problem = check_direction(gate);
	}
	return problem;
}

char *rqs_gates_add(struct rqs_gates *g, const char *text, size_t *at)
{
	struct reading r = {text, text};
	struct rqs_gate gate = {0};
	char *problem = parse(&gate, &r);

	*at = (size_t)(r.at - text);
	if (problem) {
		free(gate.route);
		return problem;
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
