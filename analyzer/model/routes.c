/* routes.c - a trie of path segments that collapses where it gets too wide. */
#include "model/routes.h"
#include "base/alloc.h"

#include <reqscope/trace_format.h>

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32    /* segments; the rest is one */
#define SEGMENT_MAX 128 /* bytes; a longer one is a parameter for sure */
#define METHODS (RQS_METHOD_COUNT + 1)
#define TEXT_MAX (DEPTH_MAX * (SEGMENT_MAX + 1))

struct node {
	char *name;
	size_t length;
	struct node *next, *child;
	unsigned names;        /* children other than {} */
	bool collapsed;        /* its only child is {} */
	bool ends;             /* a template ends here */
	unsigned row[METHODS]; /* + 1; 0: none yet */
};

struct rqs_routes {
	struct node root;
	unsigned nodes, limit;
	unsigned count;
	struct rqs_route *row;
};

/* A walk over a template's segments. */
struct segment {
	const char *text;
	size_t length;
	const char *end; /* of the template */
	unsigned depth;
};

/* The path splits at every '/', so "/a" is "", "a" and "*" is "*": joining gives back the same text. */
static bool next_segment(struct segment *s)
{
	if (s->depth) {
		if (s->text + s->length == s->end)
			return false;
		s->text += s->length + 1;
	}
	if (++s->depth == DEPTH_MAX) {
		s->length = (size_t)(s->end - s->text);
		return true;
	}
	const char *slash = memchr(s->text, '/', (size_t)(s->end - s->text));
	s->length = (size_t)((slash ? slash : s->end) - s->text);
	return true;
}

static bool is_parameter(const char *text, size_t length)
{
	return length > SEGMENT_MAX || (length == 2 && !memcmp(text, "{}", 2));
}

/* Whether a name below n goes to {}. The root's "" never does: each "/..." begins with it. */
static bool becomes_parameter(const struct rqs_routes *r, const struct node *n, const char *text, size_t length)
{
	if (n == &r->root && !length)
		return false;
	return n->collapsed || is_parameter(text, length);
}

static struct node *find_child(const struct node *n, const char *text, size_t length)
{
	struct node *c = n->child;

	while (c && (c->length != length || memcmp(c->name, text, length)))
		c = c->next;
	return c;
}

static void free_node(struct rqs_routes *r, struct node *n)
{
	while (n->child) {
		struct node *c = n->child;

		n->child = c->next;
		free_node(r, c);
		free(c->name);
		free(c);
		r->nodes--;
	}
}

static struct node *add_child(struct rqs_routes *r, struct node *n, const char *text, size_t length)
{
	struct node *c = rqs_zalloc(1, sizeof(*c));

	c->name = rqs_strndup(text, length);
	c->length = length;
	c->next = n->child;
	n->child = c;
	n->names += !is_parameter(text, length) && (length || n != &r->root);
	r->nodes++;
	return c;
}

static void collapse(struct rqs_routes *r, struct node *n);

/* Moves what is below and at `from` into `into`. */
static void unite(struct rqs_routes *r, struct node *into, struct node *from)
{
	into->ends |= from->ends;
	if (from->collapsed)
		collapse(r, into);
	for (struct node *c = from->child; c; c = c->next) {
		bool parameter = becomes_parameter(r, into, c->name, c->length);
		const char *name = parameter ? "{}" : c->name;
		size_t length = parameter ? 2 : c->length;
		struct node *same = find_child(into, name, length);

		unite(r, same ? same : add_child(r, into, name, length), c);
	}
	if (into->names > r->limit)
		collapse(r, into);
}

static void collapse(struct rqs_routes *r, struct node *n)
{
	if (n->collapsed)
		return;
	struct node old = {.child = n->child};

	n->child = NULL;
	n->names = 0;
	n->collapsed = true;
	if (old.child)
		unite(r, n, &old);
	free_node(r, &old);
}

static void tighten(struct rqs_routes *r, struct node *n)
{
	if (n->names > r->limit)
		collapse(r, n);
	for (struct node *c = n->child; c; c = c->next)
		tighten(r, c);
}

static unsigned templates(const struct node *n)
{
	unsigned sum = n->ends;

	for (const struct node *c = n->child; c; c = c->next)
		sum += templates(c);
	return sum;
}

static struct node *step(const struct rqs_routes *r, const struct node *n, const struct segment *s)
{
	if (becomes_parameter(r, n, s->text, s->length))
		return find_child(n, "{}", 2);
	return find_child(n, s->text, s->length);
}

void rqs_routes_add(struct rqs_routes *r, const char *template, size_t length)
{
	struct segment s = {.text = template, .end = template + length};
	struct node *n = &r->root, *wide = NULL;

	while (next_segment(&s)) {
		bool parameter = becomes_parameter(r, n, s.text, s.length);
		struct node *c = step(r, n, &s);

		if (!c)
			c = add_child(r, n, parameter ? "{}" : s.text, parameter ? 2 : s.length);
		if (!wide && n->names > r->limit)
			wide = n;
		n = c;
	}
	n->ends = true;
	if (wide)
		collapse(r, wide);
	while (r->nodes > RQS_NODES_MAX && r->limit) {
		r->limit /= 2;
		tighten(r, &r->root);
	}
}

bool rqs_routes_has(const struct rqs_routes *r, const char *template, size_t length)
{
	struct segment s = {.text = template, .end = template + length};
	const struct node *n = &r->root;

	while (n && next_segment(&s))
		n = step(r, n, &s);
	return n && n->ends;
}

void rqs_routes_finish(struct rqs_routes *r)
{
	while (r->limit && templates(&r->root) > RQS_TEMPLATES_MAX) {
		r->limit /= 2;
		tighten(r, &r->root);
	}
}

static unsigned add_row(struct rqs_routes *r, uint8_t method, const char *text, size_t length)
{
	r->row = rqs_grow(r->row, r->count + 1, sizeof(*r->row));
	r->row[r->count].method = method;
	r->row[r->count].path = rqs_strndup(text, length);
	return r->count++;
}

unsigned rqs_routes_find(struct rqs_routes *r, uint8_t method, const char *template, size_t length)
{
	struct segment s = {.text = template, .end = template + length};
	struct node *n = &r->root;
	char text[TEXT_MAX];
	size_t used = 0;

	while (next_segment(&s)) {
		n = step(r, n, &s);
		if (!n)
			return RQS_ROUTE_UNMATCHED;
		if (s.depth > 1)
			text[used++] = '/';
		memcpy(text + used, n->name, n->length);
		used += n->length;
	}
	if (!n->ends)
		return RQS_ROUTE_UNMATCHED;
	unsigned *row = &n->row[method < RQS_METHOD_COUNT ? method : RQS_METHOD_COUNT];
	if (!*row)
		*row = add_row(r, method, text, used) + 1;
	return *row - 1;
}

struct rqs_routes *rqs_routes_new(void)
{
	struct rqs_routes *r = rqs_zalloc(1, sizeof(*r));

	r->limit = RQS_SEGMENTS_MAX;
	add_row(r, RQS_METHOD_OTHER, "(unmatched)", strlen("(unmatched)"));
	add_row(r, RQS_METHOD_OTHER, "(other)", strlen("(other)"));
	return r;
}

void rqs_routes_free(struct rqs_routes *r)
{
	if (!r)
		return;
	free_node(r, &r->root);
	for (unsigned i = 0; i < r->count; i++)
		free((char *)r->row[i].path);
	free(r->row);
	free(r);
}

unsigned rqs_routes_count(const struct rqs_routes *r)
{
	return r->count;
}

struct rqs_route rqs_routes_get(const struct rqs_routes *r, unsigned row)
{
	return r->row[row];
}

const char *rqs_route_method(const struct rqs_routes *r, unsigned row)
{
	static const char *const names[] = {
#define NAME(method) #method,
	    RQS_METHODS(NAME)
#undef NAME
	};

	if (row == RQS_ROUTE_UNMATCHED || row == RQS_ROUTE_OTHER)
		return "*";
	return r->row[row].method < RQS_METHOD_COUNT ? names[r->row[row].method] : "_OTHER";
}
