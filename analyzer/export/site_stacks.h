/*
 * site_stacks.h - what the exports of call sites have in common: which of a
 * trace's sites are asked for, and how routes, frames and values are told.
 */
#ifndef REQSCOPE_SITE_STACKS_H
#define REQSCOPE_SITE_STACKS_H

#include "export/exporter.h"
#include "model/alloc_sites.h"

/* Of the wanted route; where one is wanted, what is no request's isn't. */
bool rqs_export_has_site(const struct rqs_export *what, const struct rqs_alloc_site *site);
/* Calls with each of these, of all traces. */
void rqs_export_each_site(const struct rqs_export *what,
			  void (*put)(void *context, const struct rqs_trace *trace, const struct rqs_alloc_site *site),
			  void *context);
/* Whether some of these would have shown their end, so that what is retained is known. */
bool rqs_export_has_retained(const struct rqs_export *what);

/* What a trace's sites are told apart by; NULL where all traces with sites are the same service's. */
const char *rqs_export_service(const struct rqs_export *what, const struct rqs_trace *trace);

/* "after_response", "unattributed", or NULL of a row of the routes. */
const char *rqs_site_owner(uint32_t row);
/* "GET /x", or the owner; valid UTF-8. To be freed. */
char *rqs_site_title(const struct rqs_traces *traces, uint32_t row);

/* The innermost first; of the empty stack one without a name. */
struct rqs_site_path {
	unsigned count; /* at least 1 */
	const struct rqs_frame_name *frame[RQS_SITE_DEPTH_MAX];
};
void rqs_site_path(struct rqs_site_path *path, const struct rqs_alloc_sites *sites, uint32_t stack);
/* Never empty. */
const char *rqs_site_function(const struct rqs_frame_name *frame);

/* Within what a signed 64-bit number holds. */
uint64_t rqs_site_rounded(double value);

#endif
