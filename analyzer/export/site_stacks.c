/* site_stacks.c - sites, in words and whole numbers. */
#include "export/site_stacks.h"
#include "export/telemetry.h"
#include "base/alloc.h"
#include "render/escape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool rqs_export_has_site(const struct rqs_export *what, const struct rqs_alloc_site *site)
{
	if (!what->route)
		return true;
	return !rqs_site_owner(site->row) && rqs_export_has_route(what, site->row);
}

void rqs_export_each_site(const struct rqs_export *what,
			  void (*put)(void *context, const struct rqs_trace *trace, const struct rqs_alloc_site *site),
			  void *context)
{
	for (unsigned t = 0; t < what->traces->count; t++) {
		const struct rqs_trace *trace = &what->traces->trace[t];

		for (unsigned i = 0; i < trace->result.sites.site_count; i++)
			if (rqs_export_has_site(what, &trace->result.sites.sites[i]))
				put(context, trace, &trace->result.sites.sites[i]);
	}
}

static void look_for_followed(void *context, const struct rqs_trace *trace, const struct rqs_alloc_site *site)
{
	bool *found = context;
	(void)trace;

	*found = *found || site->followed.samples;
}

bool rqs_export_has_retained(const struct rqs_export *what)
{
	bool found = false;

	rqs_export_each_site(what, look_for_followed, &found);
	return found;
}

const char *rqs_export_service(const struct rqs_export *what, const struct rqs_trace *trace)
{
	const char *mine = rqs_telemetry_service(trace);

	for (unsigned t = 0; t < what->traces->count; t++)
		if (what->traces->trace[t].result.sites.known &&
		    strcmp(rqs_telemetry_service(&what->traces->trace[t]), mine))
			return mine;
	return NULL;
}

const char *rqs_site_owner(uint32_t row)
{
	if (row == RQS_SITES_ROW_AFTER_RESPONSE)
		return "after_response";
	return row == RQS_SITES_ROW_UNATTRIBUTED ? "unattributed" : NULL;
}

char *rqs_site_title(const struct rqs_traces *traces, uint32_t row)
{
	if (rqs_site_owner(row))
		return rqs_format("%s", rqs_site_owner(row));
	char *path = rqs_valid_utf8(rqs_routes_get(traces->routes, row).path);
	char *title = rqs_format("%s %s", rqs_route_method(traces->routes, row), path);

	free(path);
	return title;
}

void rqs_site_path(struct rqs_site_path *path, const struct rqs_alloc_sites *sites, uint32_t stack)
{
	static const struct rqs_frame_name unknown = {.function = "", .file = "", .module = "", .kind = RQS_KIND_NOTE};

	path->count = 0;
	for (; stack && path->count < RQS_SITE_DEPTH_MAX; stack = sites->stacks[stack].caller)
		path->frame[path->count++] = &sites->frames[sites->stacks[stack].frame];
	if (!path->count)
		path->frame[path->count++] = &unknown;
}

const char *rqs_site_function(const struct rqs_frame_name *frame)
{
	return *frame->function ? frame->function : "(unknown)";
}

uint64_t rqs_site_rounded(double value)
{
	return value > 0 ? (uint64_t)llround(fmin(value, 0x1p62)) : 0;
}
