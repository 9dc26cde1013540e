/*
 * route.h - the template of a request target, built byte by byte.
 *
 * A template is a pure function of the target, so that traces of different
 * runs and machines merge exactly:
 *   - the query and what follows it is dropped;
 *   - of an absolute target (http://host/a) only the path counts; an
 *     authority (CONNECT) becomes {}, "*" stays;
 *   - a segment that is a number, a UUID, 8 or more hexadecimal digits, 16 or
 *     more base64-like characters, longer than 64 bytes, or not printable
 *     ASCII becomes {};
 *   - what exceeds RQS_ROUTE_MAX bytes is cut at a segment and ends in "/...".
 */
#ifndef REQSCOPE_ROUTE_H
#define REQSCOPE_ROUTE_H

#include "core/core_deps.h"
#include "reqscope/region.h"

#define RQS_SEGMENT_MAX 64u

struct rqs_route {
	uint8_t state;
	uint8_t segment_length; /* up to RQS_SEGMENT_MAX + 1, which says "longer" */
	uint8_t length;
	uint8_t full;
	uint8_t scheme_slashes;
	char text[RQS_ROUTE_MAX];
	char segment[RQS_SEGMENT_MAX]; /* its bytes, where it was cut */
};

/* Starts a template; authority: the target is CONNECT's host:port. */
void rqs_route_begin(struct rqs_route *route, bool authority);

/*
 * Takes bytes of the target up to n or the first space, CR or LF. Returns the
 * number taken; targets may be cut anywhere.
 */
size_t rqs_route_feed(struct rqs_route *route, const uint8_t *p, size_t n);

/*
 * Ends it. Returns false when what was fed is no target of HTTP. The template
 * is text[0..length), at least one byte.
 */
bool rqs_route_end(struct rqs_route *route);

#endif
