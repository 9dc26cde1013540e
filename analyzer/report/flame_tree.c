/* flame_tree.c - merging stacks, what is said of each frame, and which frames are too narrow to be drawn. */
#include "report/flame_tree.h"
#include "report/site_error.h"
#include "base/alloc.h"
#include "render/units.h"
#include "stats/numbers.h"
#include "stats/student.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NARROWEST 0.002 /* of the whole */
#define MUCH 0.1        /* of the whole */
#define Z 1.959963984540054
#define NO_KEY UINT32_MAX

void rqs_flame_tree_start(struct rqs_flame_tree *t, unsigned sides)
{
	memset(t, 0, sizeof(*t));
	t->sides = sides;
	t->slots = 256;
	t->slot = rqs_zalloc(t->slots, sizeof(*t->slot));
	t->node = rqs_zalloc(t->slots / 2, sizeof(*t->node));
	t->node->key = NO_KEY;
	t->nodes = 1;
}

void rqs_flame_tree_free(struct rqs_flame_tree *t)
{
	rqs_intern_free(&t->keys);
	free(t->node);
	free(t->slot);
	memset(t, 0, sizeof(*t));
}

/* ---- merging ---- */

static uint64_t hash(uint32_t caller, uint32_t key)
{
	uint64_t h = ((uint64_t)caller << 32 | key) * 0x9e3779b97f4a7c15ull;

	return h ^ h >> 32;
}

/* The slot of what a node calls, or the free one where it belongs. */
static uint32_t *find(const struct rqs_flame_tree *t, uint32_t caller, uint32_t key)
{
	for (uint64_t at = hash(caller, key);; at++) {
		uint32_t *slot = &t->slot[at & (t->slots - 1)];

		if (!*slot || (t->node[*slot].caller == caller && t->node[*slot].key == key))
			return slot;
	}
}

static void make_room(struct rqs_flame_tree *t)
{
	if (t->nodes * 2 < t->slots)
		return;
	t->slots *= 2;
	free(t->slot);
	t->slot = rqs_zalloc(t->slots, sizeof(*t->slot));
	t->node = rqs_grow(t->node, t->slots / 2, sizeof(*t->node));
	for (uint32_t i = 1; i < t->nodes; i++)
		*find(t, t->node[i].caller, t->node[i].key) = i;
}

static uint32_t add_node(struct rqs_flame_tree *t, uint32_t caller, uint32_t key, const struct rqs_frame_name *name)
{
	uint32_t i = t->nodes++;

	t->node[i] = (struct rqs_flame_node){.caller = caller, .key = key, .name = name};
	t->node[i].next = t->node[caller].first;
	t->node[caller].first = i;
	return i;
}

static uint32_t callee(struct rqs_flame_tree *t, uint32_t caller, uint32_t key, const struct rqs_frame_name *name)
{
	make_room(t);
	uint32_t *slot = find(t, caller, key);
	if (!*slot)
		*slot = add_node(t, caller, key, name);
	struct rqs_flame_node *n = &t->node[*slot];
	if (name->line && (!n->low_line || name->line < n->low_line))
		n->low_line = name->line;
	if (name->line > n->high_line)
		n->high_line = name->line;
	return *slot;
}

/* The node of each stack that has one: node[0], the whole's, is that of the empty one. */
static void add_stack(struct rqs_flame_tree *t, const struct rqs_alloc_sites *sites, uint32_t stack, uint32_t *node,
		      const uint32_t *key)
{
	uint32_t path[RQS_SITE_DEPTH_MAX], depth = 0;

	for (; stack && !node[stack] && depth < RQS_SITE_DEPTH_MAX; stack = sites->stacks[stack].caller)
		path[depth++] = stack;
	while (depth) {
		uint32_t own = path[--depth], frame = sites->stacks[own].frame;

		node[own] = callee(t, node[stack], key[frame], &sites->frames[frame]);
		stack = own;
	}
}

static void add_value(struct rqs_flame_value *v, const struct rqs_site_estimate *e, double requests, bool compared)
{
	double variance = compared ? rqs_site_variance(e) : e->bytes_variance;

	v->run.bytes += e->bytes / requests;
	v->run.variance += variance / (requests * requests);
	v->run.samples += e->samples;
}

/* What the run had is its callers', too, who have lower numbers, and becomes a part of the sums. */
static void end_run(struct rqs_flame_tree *t, unsigned side)
{
	for (unsigned i = t->nodes; i-- > 0;) {
		struct rqs_flame_value *v = &t->node[i].side[side], *caller = &t->node[t->node[i].caller].side[side];

		if (i) {
			caller->run.bytes += v->run.bytes;
			caller->run.variance += v->run.variance;
			caller->run.samples += v->run.samples;
		}
		v->sum += v->run.bytes;
		v->squares += v->run.bytes * v->run.bytes;
		v->sampling += v->run.variance;
		v->samples += v->run.samples;
		memset(&v->run, 0, sizeof(v->run));
	}
	t->runs[side]++;
}

void rqs_flame_tree_add_run(struct rqs_flame_tree *t, unsigned side, const struct rqs_alloc_sites *sites,
			    enum rqs_flame_measure measure, uint32_t row, double requests)
{
	uint32_t *key = rqs_zalloc(sites->frame_count, sizeof(*key)),
		 *node = rqs_zalloc(sites->stack_count, sizeof(*node));

	for (unsigned i = 0; i < sites->frame_count; i++)
		key[i] = rqs_frame_key(&t->keys, &sites->frames[i]);
	for (unsigned i = 0; i < sites->site_count; i++) {
		const struct rqs_alloc_site *s = &sites->sites[i];
		const struct rqs_site_estimate *e = measure == RQS_FLAME_ALLOCATED ? &s->allocated : &s->retained;

		if (!e->samples || (row == RQS_FLAME_ALL_ROUTES ? s->row >= RQS_SITES_ROW_ALL : s->row != row))
			continue;
		add_stack(t, sites, s->stack, node, key);
		add_value(&t->node[node[s->stack]].side[side], e, requests, t->sides > 1);
	}
	end_run(t, side);
	t->requests[side] += requests;
	t->sample_bytes[side] = fmax(t->sample_bytes[side], sites->sample_bytes);
	free(key);
	free(node);
}

/* ---- figures ---- */

static void finish_value(struct rqs_flame_value *v, unsigned runs)
{
	double between = runs > 1 ? fmax(0, (v->squares - v->sum * v->sum / runs) / (runs - 1) / runs) : 0;

	v->bytes = v->sum / runs;
	v->variance = fmax(between, v->sampling / ((double)runs * runs));
}

/* Those that are called have higher numbers than their callers. */
static void finish_widths(struct rqs_flame_tree *t)
{
	for (unsigned i = t->nodes; i-- > 0;) {
		struct rqs_flame_node *n = &t->node[i];
		double called = 0;

		n->own = 0;
		for (unsigned s = 0; s < t->sides; s++) {
			double own = n->side[s].bytes;

			for (uint32_t k = n->first; k; k = t->node[k].next)
				own -= t->node[k].side[s].bytes;
			n->own = fmax(n->own, own);
		}
		for (uint32_t k = n->first; k; k = t->node[k].next)
			called += t->node[k].width;
		n->width = n->own + called;
	}
}

static double narrowest(const struct rqs_flame_tree *t, unsigned bars)
{
	double *width = rqs_zalloc(t->nodes, sizeof(*width)), least = NARROWEST * t->node[0].width;

	for (unsigned i = 0; i < t->nodes; i++)
		width[i] = -t->node[i].width;
	rqs_numbers_sort(width, width, t->nodes);
	if (t->nodes > bars)
		least = fmax(least, -width[bars] * (1 + 1e-9));
	free(width);
	return least;
}

/* ---- words ---- */

/* A drawing on its way. */
struct drawing {
	const struct rqs_flame_tree *t;
	struct rqs_flame *flame;
	const char *whole;
	const char *const *names;
	double least;
};

static char *where(const struct rqs_flame_node *n)
{
	char *place;

	if (!n->name || !(*n->name->file || *n->name->module))
		return rqs_strndup("", 0);
	place = rqs_frame_place(n->name);
	char *text = !n->low_line                  ? rqs_format(" (%s)", place)
		     : n->low_line == n->high_line ? rqs_format(" (%s:%u)", place, n->low_line)
						   : rqs_format(" (%s:%u-%u)", place, n->low_line, n->high_line);
	free(place);
	return text;
}

static const char *function(const struct drawing *d, const struct rqs_flame_node *n)
{
	if (n->name)
		return *n->name->function ? n->name->function : "(unknown)";
	return n == &d->t->node[0] ? d->whole : "(other)";
}

static char *describe_one(const struct drawing *d, const struct rqs_flame_node *n)
{
	const struct rqs_flame_value *v = &n->side[0];
	char *place = where(n), *bytes = rqs_human_bytes(v->bytes), *error = rqs_human_bytes(Z * sqrt(v->variance));
	char *share = rqs_human_percent(v->bytes / d->t->node[0].side[0].bytes);
	char *samples = rqs_human_count((double)v->samples);
	char *text =
	    rqs_format("%s%s: %s ± %s a request, %s, %s samples", function(d, n), place, bytes, error, share, samples);

	free(place);
	free(bytes);
	free(error);
	free(share);
	free(samples);
	return text;
}

/* Of a side without a sample it could have had, with what one in twenty doesn't see: three (rule of three). */
static double variance_of(const struct rqs_flame_tree *t, const struct rqs_flame_node *n, unsigned side)
{
	double unseen = RQS_SITE_UNSEEN / Z * t->sample_bytes[side] / t->requests[side];

	return n->side[side].samples ? n->side[side].variance : unseen * unseen;
}

static double difference_error(const struct rqs_flame_tree *t, const struct rqs_flame_node *n)
{
	unsigned fewest = t->runs[0] < t->runs[1] ? t->runs[0] : t->runs[1];
	double z = fewest > 1 ? rqs_student_quantile(0.975, fewest - 1) : Z;

	return z * sqrt(variance_of(t, n, 0) + variance_of(t, n, 1));
}

static char *describe_two(const struct drawing *d, const struct rqs_flame_node *n)
{
	double difference = n->side[1].bytes - n->side[0].bytes;
	char *place = where(n), *a = rqs_human_bytes(n->side[0].bytes), *b = rqs_human_bytes(n->side[1].bytes);
	char *change = rqs_human_bytes(fabs(difference)), *error = rqs_human_bytes(difference_error(d->t, n));
	char *x = rqs_human_count((double)n->side[0].samples), *y = rqs_human_count((double)n->side[1].samples);
	char *text = rqs_format("%s%s: %s %s, %s %s a request; %s%s ± %s, samples %s and %s", function(d, n), place,
				d->names[0], a, d->names[1], b, difference < 0 ? "-" : "+", change, error, x, y);

	free(place);
	free(a);
	free(b);
	free(change);
	free(error);
	free(x);
	free(y);
	return text;
}

/* ---- drawing ---- */

static enum rqs_flame_color color_of(const struct drawing *d, const struct rqs_flame_node *n)
{
	static const enum rqs_flame_color kinds[] = {
	    [RQS_KIND_NATIVE] = RQS_FLAME_NATIVE, [RQS_KIND_PYTHON] = RQS_FLAME_PYTHON,
	    [RQS_KIND_GO] = RQS_FLAME_GO,         [RQS_KIND_JAVASCRIPT] = RQS_FLAME_JAVASCRIPT,
	    [RQS_KIND_NOTE] = RQS_FLAME_NO_CODE,
	};
	double difference = n->side[1].bytes - n->side[0].bytes;

	if (d->t->sides == 1)
		return n->name ? kinds[n->name->kind] : RQS_FLAME_NO_CODE;
	if (!(fabs(difference) > difference_error(d->t, n)))
		return RQS_FLAME_SAME;
	bool much = fabs(difference) >= MUCH * d->t->node[0].width;
	if (difference < 0)
		return much ? RQS_FLAME_MUCH_LESS : RQS_FLAME_LESS;
	return much ? RQS_FLAME_MUCH_MORE : RQS_FLAME_MORE;
}

/* A sure difference stands in its bar, too, so that it isn't told by the colour alone. */
static char *bar_name(const struct drawing *d, const struct rqs_flame_node *n, enum rqs_flame_color color)
{
	double difference = n->side[1].bytes - n->side[0].bytes;

	if (d->t->sides == 1 || color == RQS_FLAME_SAME)
		return rqs_format("%s", function(d, n));
	char *change = rqs_human_bytes(fabs(difference));
	char *text = rqs_format("%s %s %s", difference < 0 ? "-" : "+", function(d, n), change);

	free(change);
	return text;
}

static void draw_bar(struct drawing *d, const struct rqs_flame_node *n, unsigned depth, double from)
{
	enum rqs_flame_color color = color_of(d, n);

	rqs_flame_add(d->flame, depth, from, n->width / d->t->node[0].width, color, bar_name(d, n, color),
		      d->t->sides == 1 ? describe_one(d, n) : describe_two(d, n));
}

static int by_width(const void *a, const void *b)
{
	const struct rqs_flame_node *x = *(const struct rqs_flame_node *const *)a,
				    *y = *(const struct rqs_flame_node *const *)b;

	if (x->width != y->width)
		return x->width > y->width ? -1 : 1;
	return strcmp(x->name->function, y->name->function);
}

static void add_other(struct rqs_flame_node *other, const struct rqs_flame_node *n, unsigned sides)
{
	other->width += n->width;
	for (unsigned s = 0; s < sides; s++) {
		other->side[s].bytes += n->side[s].bytes;
		other->side[s].variance += n->side[s].variance;
		other->side[s].samples += n->side[s].samples;
	}
}

/* At most RQS_SITE_DEPTH_MAX deep. */
static void draw(struct drawing *d, const struct rqs_flame_node *n, unsigned depth, double from)
{
	const struct rqs_flame_tree *t = d->t;
	const struct rqs_flame_node **called = NULL;
	struct rqs_flame_node other = {.key = NO_KEY};
	unsigned count = 0;

	draw_bar(d, n, depth, from);
	for (uint32_t k = n->first; k; k = t->node[k].next) {
		if (t->node[k].width < d->least) {
			add_other(&other, &t->node[k], t->sides);
			continue;
		}
		called = rqs_grow(called, count + 1, sizeof(const struct rqs_flame_node *));
		called[count++] = &t->node[k];
	}
	if (count)
		qsort(called, count, sizeof(const struct rqs_flame_node *), by_width);
	for (unsigned i = 0; i < count; i++) {
		draw(d, called[i], depth + 1, from);
		from += called[i]->width / t->node[0].width;
	}
	if (other.width >= d->least)
		draw_bar(d, &other, depth + 1, from);
	free(called);
}

struct rqs_flame *rqs_flame_tree_draw(struct rqs_flame_tree *t, const char *title, const char *whole, const char *note,
				      const char *const *names, unsigned bars)
{
	struct drawing d = {.t = t, .whole = whole, .names = names};

	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned s = 0; s < t->sides; s++)
			finish_value(&t->node[i].side[s], t->runs[s]);
	finish_widths(t);
	if (!(t->node[0].width > 0))
		return NULL;
	d.least = narrowest(t, bars);
	d.flame = rqs_flame_new(title, note);
	draw(&d, &t->node[0], 0, 0);
	return d.flame;
}
