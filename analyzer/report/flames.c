/* flames.c - flame graphs of a trace, and of two sides. */
#include "report/flames.h"
#include "report/flame_tree.h"
#include "report/report_doc.h"
#include "base/alloc.h"

#include <stdlib.h>

#define LEAST_BARS 40

static const char how_to_read[] =
    "Callers stand above what they called; a bar is as wide as the bytes a request that were allocated in it and below "
    "it. What is too narrow is \"(other)\".";
static const char retained[] =
    "The part of it that wasn't freed when the last response had been sent, where that is seen.";
static const char how_to_read_difference[] =
    "Bytes a request: a bar is as wide as the greater of the sides, red where there is more and blue where there is "
    "less, "
    "beyond its 95 % error (much: by a tenth of the whole). Callers stand above what they called.";

static double requests_of(const struct rqs_result *r, uint32_t row)
{
	const struct rqs_cell *cell = rqs_route_cell(r, row == RQS_FLAME_ALL_ROUTES ? RQS_WHOLE : (int)row);

	return cell ? rqs_cell_measured_requests(cell) : 0;
}

static char *whole_name(const struct rqs_routes *routes, uint32_t row)
{
	return row == RQS_FLAME_ALL_ROUTES ? rqs_format("all routes") : rqs_route_text(routes, row);
}

/* ---- which routes ---- */

struct ranked {
	uint32_t row;
	double bytes;
};

static int by_bytes(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* The routes' rows by bytes, descending; how many there are. To be freed. */
static struct ranked *rank(const struct rqs_alloc_sites *a, const struct rqs_alloc_sites *b, unsigned rows,
			   unsigned *count)
{
	const struct rqs_alloc_sites *both[] = {a, b};
	struct ranked *ranked = rqs_zalloc(rows, sizeof(*ranked));

	for (unsigned i = 0; i < rows; i++)
		ranked[i].row = i;
	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; both[k] && i < both[k]->site_count; i++)
			if (both[k]->sites[i].row < rows)
				ranked[both[k]->sites[i].row].bytes += both[k]->sites[i].allocated.bytes;
	if (rows)
		qsort(ranked, rows, sizeof(*ranked), by_bytes);
	for (*count = 0; *count < rows && ranked[*count].bytes > 0; ++*count)
		;
	return ranked;
}

/* Said with the first one. To be freed. */
static char *note_text(const char *text, unsigned routes)
{
	if (routes <= RQS_FLAME_ROUTES)
		return rqs_format("%s", text);
	return rqs_format("%s Of %u routes the %u that allocate most have a graph of their own.", text, routes,
			  RQS_FLAME_ROUTES);
}

/* ---- one trace ---- */

static void add_one(struct rqs_doc *d, const struct rqs_result *r, const struct rqs_routes *routes, uint32_t row,
		    enum rqs_flame_measure measure, const char *note, unsigned bars)
{
	struct rqs_flame_tree tree;
	double requests = requests_of(r, row);
	char *whole = whole_name(routes, row);
	char *title = rqs_format(measure == RQS_FLAME_RETAINED ? "Still live at the end: %s" : "Allocated: %s", whole);

	if (requests > 0) {
		rqs_flame_tree_start(&tree, 1);
		rqs_flame_tree_add_run(&tree, 0, &r->sites, measure, row, requests);
		struct rqs_flame *flame = rqs_flame_tree_draw(&tree, title, whole, note, NULL, bars);
		if (flame)
			rqs_doc_flame(d, flame);
		rqs_flame_tree_free(&tree);
	}
	free(title);
	free(whole);
}

void rqs_doc_add_flames(struct rqs_doc *d, const struct rqs_result *r, const struct rqs_routes *routes, unsigned traces)
{
	unsigned count, bars = RQS_FLAME_BARS / (RQS_FLAME_ROUTES + 2) / (traces ? traces : 1);
	struct ranked *ranked = rank(&r->sites, NULL, rqs_routes_count(routes), &count);

	char *note = note_text(how_to_read, count);
	bars = bars > LEAST_BARS ? bars : LEAST_BARS;
	if (count > 1)
		add_one(d, r, routes, RQS_FLAME_ALL_ROUTES, RQS_FLAME_ALLOCATED, note, bars);
	for (unsigned i = 0; i < count && i < RQS_FLAME_ROUTES; i++)
		add_one(d, r, routes, ranked[i].row, RQS_FLAME_ALLOCATED, count > 1 ? NULL : note, bars);
	add_one(d, r, routes, RQS_FLAME_ALL_ROUTES, RQS_FLAME_RETAINED, retained, bars);
	free(note);
	free(ranked);
}

/* ---- two sides ---- */

static void add_runs(struct rqs_flame_tree *tree, const struct rqs_comparison *c, unsigned side, unsigned place,
		     uint32_t row)
{
	for (unsigned i = 0; i < c->side[side].runs; i++) {
		const struct rqs_result *r = &c->traces.trace[c->side[side].first + i].result;
		double requests = requests_of(r, row);

		if (requests > 0)
			rqs_flame_tree_add_run(tree, place, &r->sites, RQS_FLAME_ALLOCATED, row, requests);
	}
}

static void add_difference(struct rqs_doc *d, const struct rqs_comparison *c, unsigned side, uint32_t row,
			   const char *note, unsigned bars)
{
	const char *names[] = {c->side[0].name, c->side[side].name};
	char *whole = whole_name(c->traces.routes, row);
	char *title = rqs_format("%s against %s: %s", names[1], names[0], whole);
	struct rqs_flame_tree tree;

	rqs_flame_tree_start(&tree, 2);
	add_runs(&tree, c, 0, 0, row);
	add_runs(&tree, c, side, 1, row);
	struct rqs_flame *flame =
	    tree.runs[0] && tree.runs[1] ? rqs_flame_tree_draw(&tree, title, whole, note, names, bars) : NULL;
	if (flame)
		rqs_doc_flame(d, flame);
	rqs_flame_tree_free(&tree);
	free(title);
	free(whole);
}

void rqs_doc_add_flame_differences(struct rqs_doc *d, const struct rqs_findings *f, unsigned side)
{
	const struct rqs_comparison *c = f->c;
	unsigned count, bars = RQS_FLAME_BARS / (RQS_FLAME_ROUTES + 1) / (c->sides - 1);
	struct ranked *ranked =
	    rank(&c->side[0].result.sites, &c->side[side].result.sites, rqs_routes_count(c->traces.routes), &count);

	char *note = note_text(how_to_read_difference, count);
	bars = bars > LEAST_BARS ? bars : LEAST_BARS;
	if (count > 1)
		add_difference(d, c, side, RQS_FLAME_ALL_ROUTES, note, bars);
	for (unsigned i = 0; i < count && i < RQS_FLAME_ROUTES; i++)
		add_difference(d, c, side, ranked[i].row, count > 1 ? NULL : note, bars);
	free(note);
	free(ranked);
}
