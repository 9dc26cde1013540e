/*
 * pprof.c - sampled allocations as a profile of pprof's (google/pprof,
 * proto/profile.proto), which `go tool pprof` opens: compressed by gzip.
 *
 * The values are those of Go's own heap profiles: objects and bytes allocated,
 * objects and bytes in use, the latter two left out where no allocation's end
 * was seen. They are estimates, rounded. Places have no address, since those
 * of several processes don't agree; a place is what its lines are.
 */
#include "export/gzip.h"
#include "export/protobuf.h"
#include "export/site_stacks.h"
#include "export/telemetry.h"
#include "base/alloc.h"
#include "base/intern.h"
#include "render/escape.h"

#include <stdlib.h>
#include <string.h>

/* Numbers of fields. */
enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_MAPPING = 3,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING = 6,
	PROFILE_TIME = 9,
	PROFILE_DURATION = 10,
	PROFILE_PERIOD_TYPE = 11,
	PROFILE_PERIOD = 12,
	PROFILE_COMMENT = 13,
	PROFILE_DEFAULT_TYPE = 14
};
enum { VALUE_TYPE = 1, VALUE_UNIT = 2 };
enum { SAMPLE_LOCATION = 1, SAMPLE_VALUE = 2, SAMPLE_LABEL = 3 };
enum { LABEL_KEY = 1, LABEL_TEXT = 2 };
enum { MAPPING_ID = 1, MAPPING_FILE = 5, MAPPING_HAS_FUNCTIONS = 7, MAPPING_HAS_INLINE_FRAMES = 10 };
enum { LOCATION_ID = 1, LOCATION_MAPPING = 2, LOCATION_LINE = 4 };
enum { LINE_FUNCTION = 1, LINE_NUMBER = 2 };
enum { FUNCTION_ID = 1, FUNCTION_NAME = 2, FUNCTION_FILE = 4 };

#define NS_PER_S 1e9

struct pprof {
	const struct rqs_export *what;
	bool retained; /* some allocation's end would have been seen */
	struct rqs_bytes profile, message, part;
	struct rqs_site_path path;
	struct rqs_bytes place;      /* the key of one: its mapping, then function and line of each line; u32 */
	struct rqs_intern strings;   /* number 0 is the empty one */
	struct rqs_intern mappings;  /* by the string's number; ids are one more than the number */
	struct rqs_intern functions; /* by the strings' numbers of name and file */
	struct rqs_intern locations; /* by their place */
};

static void *start_pprof(const struct rqs_export *what)
{
	struct pprof *p = rqs_zalloc(1, sizeof(*p));

	p->what = what;
	rqs_intern_text(&p->strings, "");
	return p;
}

static void free_pprof(void *state)
{
	struct pprof *p = state;

	rqs_bytes_free(&p->profile);
	rqs_bytes_free(&p->message);
	rqs_bytes_free(&p->part);
	rqs_bytes_free(&p->place);
	rqs_intern_free(&p->strings);
	rqs_intern_free(&p->mappings);
	rqs_intern_free(&p->functions);
	rqs_intern_free(&p->locations);
	free(p);
}

static uint32_t string(struct pprof *p, const char *text)
{
	return rqs_intern_text(&p->strings, text);
}

/* ---- places ---- */

static uint32_t mapping_of(struct pprof *p, const char *module)
{
	uint32_t file = string(p, module), before = p->mappings.count;
	uint32_t id = rqs_intern(&p->mappings, &file, sizeof(file)) + 1;

	if (p->mappings.count == before)
		return id;
	rqs_protobuf_number(&p->message, MAPPING_ID, id);
	rqs_protobuf_number(&p->message, MAPPING_FILE, file);
	/* So that nobody looks for symbols by addresses that there aren't. */
	for (unsigned has = MAPPING_HAS_FUNCTIONS; has <= MAPPING_HAS_INLINE_FRAMES; has++)
		rqs_protobuf_number(&p->message, has, true);
	rqs_protobuf_message(&p->profile, PROFILE_MAPPING, &p->message);
	return id;
}

/* Without a system_name, so that pprof takes the name for one that needs no demangling; "<lambda>" would become "". */
static uint32_t function_of(struct pprof *p, const struct rqs_frame_name *frame)
{
	uint32_t key[2] = {string(p, rqs_site_function(frame)), string(p, frame->file)};
	uint32_t before = p->functions.count, id = rqs_intern(&p->functions, key, sizeof(key)) + 1;

	if (p->functions.count == before)
		return id;
	rqs_protobuf_number(&p->message, FUNCTION_ID, id);
	rqs_protobuf_number(&p->message, FUNCTION_NAME, key[0]);
	rqs_protobuf_number(&p->message, FUNCTION_FILE, key[1]);
	rqs_protobuf_message(&p->profile, PROFILE_FUNCTION, &p->message);
	return id;
}

/* Of the place's key. */
static void put_location(struct pprof *p, uint32_t id, uint32_t mapping)
{
	uint32_t line[2];

	rqs_protobuf_number(&p->message, LOCATION_ID, id);
	rqs_protobuf_number(&p->message, LOCATION_MAPPING, mapping);
	for (size_t at = sizeof(mapping); at < p->place.length; at += sizeof(line)) {
		memcpy(line, p->place.at + at, sizeof(line));
		rqs_protobuf_number(&p->part, LINE_FUNCTION, line[0]);
		rqs_protobuf_number(&p->part, LINE_NUMBER, line[1]);
		rqs_protobuf_message(&p->message, LOCATION_LINE, &p->part);
	}
	rqs_protobuf_message(&p->profile, PROFILE_LOCATION, &p->message);
}

/* The frame at *at of a path with those that it is inlined into. *at: then what called them. */
static uint32_t location_of(struct pprof *p, const struct rqs_site_path *path, unsigned *at)
{
	const struct rqs_frame_name *frame;
	uint32_t mapping = 0, before = p->locations.count;

	p->place.length = 0;
	rqs_bytes_put_u32(&p->place, mapping);
	do {
		frame = path->frame[(*at)++];
		rqs_bytes_put_u32(&p->place, function_of(p, frame));
		rqs_bytes_put_u32(&p->place, frame->line);
	} while (frame->inlined && *at < path->count);
	if (*frame->module)
		mapping = mapping_of(p, frame->module);
	memcpy(p->place.at, &mapping, sizeof(mapping));
	uint32_t id = rqs_intern(&p->locations, p->place.at, p->place.length) + 1;
	if (p->locations.count > before)
		put_location(p, id, mapping);
	return id;
}

/* ---- samples ---- */

static void put_label(struct pprof *p, struct rqs_bytes *sample, const char *key, const char *text)
{
	char *valid = rqs_valid_utf8(text);

	rqs_protobuf_number(&p->part, LABEL_KEY, string(p, key));
	rqs_protobuf_number(&p->part, LABEL_TEXT, string(p, valid));
	free(valid);
	rqs_protobuf_message(sample, SAMPLE_LABEL, &p->part);
}

static void put_labels(struct pprof *p, struct rqs_bytes *sample, const struct rqs_trace *trace, uint32_t row)
{
	const struct rqs_traces *traces = p->what->traces;

	if (rqs_site_owner(row)) {
		put_label(p, sample, "reqscope.owner", rqs_site_owner(row));
	} else {
		put_label(p, sample, "http.request.method", rqs_telemetry_method(traces, row));
		put_label(p, sample, "http.route", rqs_routes_get(traces->routes, row).path);
	}
	if (traces->count == 1)
		return;
	put_label(p, sample, "service.name", rqs_telemetry_service(trace));
	put_label(p, sample, "reqscope.trace", trace->file);
}

static void put_value(struct pprof *p, const struct rqs_site_estimate *e)
{
	rqs_bytes_put_varint(&p->part, rqs_site_rounded(e->count));
	rqs_bytes_put_varint(&p->part, rqs_site_rounded(e->bytes));
}

static void put_sample(void *state, const struct rqs_trace *trace, const struct rqs_alloc_site *site)
{
	struct pprof *p = state;
	struct rqs_bytes sample = {0}, places = {0};

	rqs_site_path(&p->path, &trace->result.sites, site->stack);
	for (unsigned at = 0; at < p->path.count;)
		rqs_bytes_put_varint(&places, location_of(p, &p->path, &at));
	rqs_protobuf_message(&sample, SAMPLE_LOCATION, &places);
	put_value(p, &site->allocated);
	if (p->retained)
		put_value(p, &site->retained);
	rqs_protobuf_message(&sample, SAMPLE_VALUE, &p->part);
	put_labels(p, &sample, trace, site->row);
	rqs_protobuf_message(&p->profile, PROFILE_SAMPLE, &sample);
	rqs_bytes_free(&sample);
	rqs_bytes_free(&places);
}

/* ---- the profile's own ---- */

static void put_type(struct pprof *p, unsigned field, const char *type, const char *unit)
{
	rqs_protobuf_number(&p->message, VALUE_TYPE, string(p, type));
	rqs_protobuf_number(&p->message, VALUE_UNIT, string(p, unit));
	rqs_protobuf_message(&p->profile, field, &p->message);
}

static void put_types(struct pprof *p)
{
	put_type(p, PROFILE_SAMPLE_TYPE, "alloc_objects", "count");
	put_type(p, PROFILE_SAMPLE_TYPE, "alloc_space", "bytes");
	if (p->retained) {
		put_type(p, PROFILE_SAMPLE_TYPE, "inuse_objects", "count");
		put_type(p, PROFILE_SAMPLE_TYPE, "inuse_space", "bytes");
	}
	put_type(p, PROFILE_PERIOD_TYPE, "space", "bytes");
	rqs_protobuf_number(&p->profile, PROFILE_DEFAULT_TYPE, string(p, "alloc_space"));
}

static void put_comment(struct pprof *p, char *text)
{
	rqs_protobuf_number(&p->profile, PROFILE_COMMENT, string(p, text));
	free(text);
}

/* The earliest start, and the sum of the durations, as when pprof unites profiles. */
static void put_times(struct pprof *p)
{
	const struct rqs_traces *traces = p->what->traces;
	uint64_t start = UINT64_MAX;
	double duration = 0;

	for (unsigned t = 0; t < traces->count; t++) {
		if (!traces->trace[t].result.sites.known)
			continue;
		if (traces->trace[t].start_realtime < start)
			start = traces->trace[t].start_realtime;
		duration += traces->trace[t].result.duration;
	}
	rqs_protobuf_number(&p->profile, PROFILE_TIME, start);
	rqs_protobuf_number(&p->profile, PROFILE_DURATION, rqs_site_rounded(duration * NS_PER_S));
}

/* pprof takes the first mapping for the program. */
static void put_program(struct pprof *p)
{
	const struct rqs_trace *first = p->what->traces->trace;

	if (!rqs_export_service(p->what, first)) {
		char *name = rqs_valid_utf8(rqs_telemetry_service(first));

		mapping_of(p, name);
		free(name);
	}
}

/* What the samples' quality was. */
static void put_period(struct pprof *p)
{
	const struct rqs_traces *traces = p->what->traces;
	uint64_t samples = 0, lost = 0, unfollowed = 0;
	double period = -1;

	for (unsigned t = 0; t < traces->count; t++) {
		const struct rqs_alloc_sites *sites = &traces->trace[t].result.sites;

		if (!sites->known)
			continue;
		period = period < 0 || period == sites->sample_bytes ? sites->sample_bytes : 0;
		samples += sites->samples;
		lost += sites->lost;
		unfollowed += sites->unfollowed;
	}
	rqs_protobuf_number(&p->profile, PROFILE_PERIOD, rqs_site_rounded(period));
	put_comment(p, rqs_format("reqscope " RQS_VERSION ": estimates from %llu sampled allocations",
				  (unsigned long long)samples));
	if (lost)
		put_comment(p, rqs_format("%llu samples were lost and are in no figure", (unsigned long long)lost));
	if (p->retained && unfollowed)
		put_comment(p, rqs_format("the end of %llu of them would not have been seen; these are not in inuse",
					  (unsigned long long)unfollowed));
}

static void put_strings(struct pprof *p)
{
	for (uint32_t i = 0; i < p->strings.count; i++) {
		size_t length;
		const void *text = rqs_interned(&p->strings, i, &length);

		rqs_protobuf_bytes(&p->profile, PROFILE_STRING, text, length);
	}
}

static void finish_pprof(void *state)
{
	struct pprof *p = state;

	p->retained = rqs_export_has_retained(p->what);
	put_types(p);
	put_program(p);
	rqs_export_each_site(p->what, put_sample, p);
	put_times(p);
	put_period(p);
	put_strings(p);
	rqs_gzip(p->what->out, p->profile.at, p->profile.length);
}

const struct rqs_exporter rqs_exporter_pprof = {
    .name = "pprof",
    .binary = true,
    .needs_sites = true,
    .start = start_pprof,
    .finish = finish_pprof,
    .free = free_pprof,
};
