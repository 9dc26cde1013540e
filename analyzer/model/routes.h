/*
 * routes.h - which templates are one route, over all inputs together.
 *
 * The agent has already replaced numbers, UUIDs and the like by `{}`. Here a
 * position in the path at which more than RQS_SEGMENTS_MAX names occur is
 * taken for a parameter, too: they all become `{}`, and what is below them is
 * united. Only templates that got something else than a 404 count, so that a
 * scanner's guesses can't melt real routes together; the others are shown as
 * one route, RQS_UNMATCHED.
 *
 * The outcome depends on the set of templates alone, not on their order:
 * collapsing a position unites its children, a union never has fewer children
 * than its parts, and so a part collapsed early would have been in the end.
 * (Beyond RQS_NODES_MAX nodes, which is hostile, the order can matter.)
 *
 * Use: add all templates, finish once, then look up.
 */
#ifndef REQSCOPE_ROUTES_H
#define REQSCOPE_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RQS_SEGMENTS_MAX 100  /* names at one position: more than an API has endpoints side by side, fewer than ids */
#define RQS_TEMPLATES_MAX 200 /* in the end; collapses more where there are more */
#define RQS_NODES_MAX 65536   /* while adding */

struct rqs_routes;

struct rqs_route {
	uint8_t method;   /* as in the trace: an index, or RQS_METHOD_OTHER; unused in the two below */
	const char *path; /* terminated; any other byte may be in it */
};

/* Rows that always exist. */
#define RQS_ROUTE_UNMATCHED 0 /* templates that only got 404 */
#define RQS_ROUTE_OTHER 1     /* everything, once memory is exhausted by hostile input */

struct rqs_routes *rqs_routes_new(void);
void rqs_routes_free(struct rqs_routes *r);
void rqs_routes_add(struct rqs_routes *r, const char *template, size_t length);
/* Whether adding it would change nothing. */
bool rqs_routes_has(const struct rqs_routes *r, const char *template, size_t length);
void rqs_routes_finish(struct rqs_routes *r);
/* The row of a route; RQS_ROUTE_UNMATCHED for a template that was never added. */
unsigned rqs_routes_find(struct rqs_routes *r, uint8_t method, const char *template, size_t length);
/* Rows are numbered from 0; there are more after a find. */
unsigned rqs_routes_count(const struct rqs_routes *r);
struct rqs_route rqs_routes_get(const struct rqs_routes *r, unsigned row);

/* "GET", ..., "_OTHER"; "*" for the two fixed rows. */
const char *rqs_route_method(const struct rqs_routes *r, unsigned row);

#endif
