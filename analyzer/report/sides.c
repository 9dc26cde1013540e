/* sides.c - arguments to files, runs to sides. */
#include "report/sides.h"
#include "report/report_doc.h"
#include "base/alloc.h"

#include <ctype.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool exists(const char *path)
{
	return !access(path, F_OK);
}

static void add_file(struct rqs_comparison *c, struct rqs_side *s, const char *path, size_t length)
{
	c->file = rqs_grow(c->file, c->files + 1, sizeof(*c->file));
	c->file[c->files++] = rqs_strndup(path, length);
	s->runs++;
}

/* A pattern's files, in the order of their names. A name without any stays as it is, for the reader to complain. */
static char *add_pattern(struct rqs_comparison *c, struct rqs_side *s, const char *pattern)
{
	glob_t found;

	if (exists(pattern) || !strpbrk(pattern, "*?[")) {
		add_file(c, s, pattern, strlen(pattern));
		return NULL;
	}
	int error = glob(pattern, 0, NULL, &found);
	if (error == GLOB_NOMATCH)
		return rqs_format("no file matches '%s'", pattern);
	if (error)
		return rqs_format("cannot list the files of '%s'", pattern);
	for (size_t i = 0; i < found.gl_pathc; i++)
		add_file(c, s, found.gl_pathv[i], strlen(found.gl_pathv[i]));
	globfree(&found);
	return NULL;
}

static char *add_list(struct rqs_comparison *c, struct rqs_side *s, const char *list)
{
	char *problem = NULL;

	if (exists(list)) { /* a comma in a file's name */
		add_file(c, s, list, strlen(list));
		return NULL;
	}
	while (!problem && *list) {
		size_t length = strcspn(list, ",");
		char *one = rqs_strndup(list, length);

		if (length)
			problem = add_pattern(c, s, one);
		free(one);
		list += length + (list[length] == ',');
	}
	return problem;
}

static char *add_side(struct rqs_comparison *c, const char *argument)
{
	const char *equals = strchr(argument, '='), *list = argument;
	struct rqs_side *s = &c->side[c->sides++];

	s->first = c->files;
	/* A path with a '=' in it isn't a name: names have no slash, and the file as a whole doesn't exist. */
	if (equals && equals != argument && !memchr(argument, '/', (size_t)(equals - argument)) && !exists(argument)) {
		s->name = rqs_strndup(argument, (size_t)(equals - argument));
		s->named = true;
		list = equals + 1;
	}
	char *problem = add_list(c, s, list);
	if (!problem && !s->runs)
		problem = rqs_format("'%s' names no file", argument);
	return problem;
}

char *rqs_sides_parse(struct rqs_comparison *c, char *const *arguments, unsigned count)
{
	char *problem = NULL;

	memset(c, 0, sizeof(*c));
	c->side = rqs_zalloc(count, sizeof(*c->side));
	for (unsigned i = 0; i < count && !problem; i++)
		problem = add_side(c, arguments[i]);
	return problem;
}

/* What the runs' names have in common: "gin" of gin-1, gin-2. */
static char *common_name(const struct rqs_comparison *c, const struct rqs_side *s)
{
	char *common = rqs_trace_name(&c->traces.trace[s->first]);
	size_t length = strlen(common);

	if (s->runs == 1)
		return common;
	for (unsigned i = 1; i < s->runs; i++) {
		char *name = rqs_trace_name(&c->traces.trace[s->first + i]);
		size_t same = 0;

		while (same < length && common[same] == name[same])
			same++;
		length = same;
		free(name);
	}
	while (length && (strchr("-_. ", common[length - 1]) || isdigit((unsigned char)common[length - 1])))
		length--;
	if (length)
		common[length] = 0;
	return common;
}

static bool taken(const struct rqs_comparison *c, unsigned before, const char *name)
{
	for (unsigned i = 0; i < before; i++)
		if (!strcmp(c->side[i].name, name))
			return true;
	return false;
}

static void name_side(struct rqs_comparison *c, unsigned i)
{
	struct rqs_side *s = &c->side[i];

	if (!s->name)
		s->name = common_name(c, s);
	for (unsigned n = 2; taken(c, i, s->name); n++) {
		char *other = n == 2 && s->runs == 1 && !s->named ? rqs_format("%s", c->file[s->first])
								  : rqs_format("%s #%u", s->name, n);

		free(s->name);
		s->name = other;
	}
}

static int by_start(const void *a, const void *b)
{
	const struct rqs_trace *x = a, *y = b;

	if (x->start_realtime != y->start_realtime)
		return x->start_realtime < y->start_realtime ? -1 : 1;
	return strcmp(x->file, y->file);
}

static void sort_runs(struct rqs_comparison *c, const struct rqs_side *s)
{
	qsort(&c->traces.trace[s->first], s->runs, sizeof(*c->traces.trace), by_start);
	char **file = rqs_zalloc(s->runs, sizeof(*file));

	for (unsigned run = 0; run < s->runs; run++)
		file[run] = (char *)c->traces.trace[s->first + run].file;
	memcpy(&c->file[s->first], file, s->runs * sizeof(*file));
	free(file);
}

void rqs_sides_take(void *comparison, unsigned trace)
{
	struct rqs_comparison *c = comparison;

	for (unsigned i = 0; i < c->sides; i++)
		if (trace - c->side[i].first < c->side[i].runs)
			rqs_result_move_cells(&c->side[i].result, &c->traces.trace[trace].result);
}

void rqs_sides_unite(struct rqs_comparison *c)
{
	for (unsigned i = 0; i < c->sides; i++) {
		struct rqs_side *s = &c->side[i];

		sort_runs(c, s);
		name_side(c, i);
		for (unsigned run = s->first; run < s->first + s->runs; run++) {
			rqs_sides_take(c, run);
			rqs_result_merge(&s->result, &c->traces.trace[run].result);
		}
	}
}

void rqs_comparison_free(struct rqs_comparison *c)
{
	for (unsigned i = 0; i < c->sides; i++) {
		free(c->side[i].name);
		rqs_result_free(&c->side[i].result);
	}
	free(c->side);
	rqs_traces_free(&c->traces);
	for (unsigned i = 0; i < c->files; i++)
		free(c->file[i]);
	free(c->file);
	memset(c, 0, sizeof(*c));
}

const struct rqs_cell *rqs_route_cell(const struct rqs_result *r, int route)
{
	if (route == RQS_WHOLE)
		return &r->all;
	const struct rqs_cell *cell = (unsigned)route < r->cells ? r->cell[route] : NULL;

	return cell && cell->requests ? cell : NULL;
}

/* ---- the order of routes ---- */

static double mean_latency(const struct rqs_cell *c)
{
	const struct rqs_dist *d = &c->metric[RQS_METRIC_LATENCY];

	return d->count ? (double)d->sum / (double)d->count : 0;
}

/* Of two sides: how much time the change of the mean moves. Of more: the time spent. */
static double impact(const struct rqs_comparison *c, unsigned row)
{
	double spent = 0;

	if (c->sides == 2) {
		const struct rqs_cell *base = rqs_route_cell(&c->side[0].result, (int)row),
				      *new = rqs_route_cell(&c->side[1].result, (int)row);

		if (base && new)
			return fabs(mean_latency(new) - mean_latency(base)) * (double)new->requests;
	}
	for (unsigned i = 0; i < c->sides; i++) {
		const struct rqs_cell *cell = rqs_route_cell(&c->side[i].result, (int)row);

		spent += cell ? (double)cell->metric[RQS_METRIC_LATENCY].sum : 0;
	}
	return spent;
}

struct ranked_row {
	int row;
	double impact;
};

static int by_impact(const void *a, const void *b)
{
	const struct ranked_row *x = a, *y = b;

	if (x->impact != y->impact)
		return x->impact > y->impact ? -1 : 1;
	return x->row - y->row;
}

int *rqs_comparison_rows(const struct rqs_comparison *c)
{
	unsigned count = rqs_routes_count(c->traces.routes), n = 0;
	struct ranked_row *ranked = rqs_zalloc(count, sizeof(*ranked));
	int *rows = rqs_zalloc(count + 1, sizeof(*rows));

	for (unsigned row = 0; row < count; row++) {
		bool used = false;

		for (unsigned i = 0; i < c->sides; i++)
			used |= rqs_route_cell(&c->side[i].result, (int)row) != NULL;
		if (used)
			ranked[n++] = (struct ranked_row){(int)row, impact(c, row)};
	}
	qsort(ranked, n, sizeof(*ranked), by_impact);
	for (unsigned i = 0; i < n; i++)
		rows[i] = ranked[i].row;
	rows[n] = -1;
	free(ranked);
	return rows;
}
