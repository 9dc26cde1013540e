/*
 * call_sites.h - where memory comes from: the sites of sampled allocations by
 * route, in a report for people and as JSON.
 */
#ifndef REQSCOPE_CALL_SITES_H
#define REQSCOPE_CALL_SITES_H

#include "model/trace.h"
#include "render/doc.h"

#define RQS_SITES_TOP 10u /* of a route, where nothing else is asked for */
#define RQS_SITES_MOST 1000u

/* Text for people: "handler (app/views.py:12)", "read_all [libfoo.so]". To be freed. */
char *rqs_frame_text(const struct rqs_alloc_sites *sites, uint32_t frame);
/* "handler app/views.py:12", the file as it is: for JSON and tooltips. To be freed. */
char *rqs_frame_line(const struct rqs_frame_name *name);
/* The requests that a row's figures are divided by: the route's whose memory is known, or all. */
double rqs_site_requests(const struct rqs_result *r, uint32_t row);
/* By these requests. */
struct rqs_site_growth rqs_growth_of_site(const struct rqs_result *r, const struct rqs_alloc_site *site);

/* The `top` sites of each route, and leaks; nothing but how to record them where there are none. */
void rqs_doc_add_sites(struct rqs_doc *d, const struct rqs_result *r, const struct rqs_routes *routes, unsigned top);
/* "sites" of a trace, and of each of its routes, which are there already. */
void rqs_json_add_sites(cJSON *trace, const struct rqs_result *r, unsigned top);

#endif
