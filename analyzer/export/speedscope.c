/*
 * speedscope.c - sampled allocations for speedscope.app (jlfwong/speedscope,
 * src/lib/file-format-spec.ts): a "sampled" profile a route, whose weights are
 * bytes; frames are shared. Where traces are of several services, a profile's
 * name begins with the service's.
 */
#include "export/site_stacks.h"
#include "export/telemetry.h"
#include "base/alloc.h"
#include "base/intern.h"
#include "export/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct speedscope {
	const struct rqs_export *what;
	FILE *out;
	struct rqs_intern names;  /* of the profiles, terminated */
	struct rqs_intern frames; /* function and file, terminated, and the line as u32 */
	struct rqs_bytes key;     /* of a frame */
	uint32_t **profile;       /* by trace and site */
	struct rqs_site_path path;
	/* Of the list being written. */
	uint32_t put;
	uint64_t sum;
};

#define NO_PROFILE UINT32_MAX /* of a site that isn't asked for */

static void *start_speedscope(const struct rqs_export *what)
{
	struct speedscope *s = rqs_zalloc(1, sizeof(*s));

	s->what = what;
	s->out = what->out;
	return s;
}

static void free_speedscope(void *state)
{
	struct speedscope *s = state;

	for (unsigned t = 0; s->profile && t < s->what->traces->count; t++)
		free(s->profile[t]);
	free(s->profile);
	rqs_intern_free(&s->names);
	rqs_intern_free(&s->frames);
	rqs_bytes_free(&s->key);
	free(s);
}

static const struct rqs_alloc_sites *sites_of(const struct speedscope *s, unsigned trace)
{
	return &s->what->traces->trace[trace].result.sites;
}

/* ---- profiles ---- */

static uint32_t profile_of(struct speedscope *s, unsigned trace, uint32_t row)
{
	const char *service = rqs_export_service(s->what, &s->what->traces->trace[trace]);
	char *title = rqs_site_title(s->what->traces, row);
	char *name = rqs_format("%s%s%s", service ? service : "", service ? ": " : "", title);
	uint32_t profile = rqs_intern(&s->names, name, strlen(name) + 1);

	free(title);
	free(name);
	return profile;
}

static void find_profiles(struct speedscope *s)
{
	s->profile = rqs_zalloc(s->what->traces->count, sizeof(*s->profile));
	for (unsigned t = 0; t < s->what->traces->count; t++) {
		const struct rqs_alloc_sites *sites = sites_of(s, t);

		s->profile[t] = rqs_zalloc(sites->site_count, sizeof(**s->profile));
		for (unsigned i = 0; i < sites->site_count; i++)
			s->profile[t][i] = rqs_export_has_site(s->what, &sites->sites[i])
					       ? profile_of(s, t, sites->sites[i].row)
					       : NO_PROFILE;
	}
}

/* Of all sites of the profile. */
static void each_site(struct speedscope *s, uint32_t profile,
		      void (*put)(struct speedscope *s, const struct rqs_alloc_sites *sites,
				  const struct rqs_alloc_site *site))
{
	s->put = 0;
	for (unsigned t = 0; t < s->what->traces->count; t++) {
		const struct rqs_alloc_sites *sites = sites_of(s, t);

		for (unsigned i = 0; i < sites->site_count; i++)
			if (s->profile[t][i] == profile)
				put(s, sites, &sites->sites[i]);
	}
}

static uint32_t frame_of(struct speedscope *s, const struct rqs_frame_name *frame)
{
	const char *function = rqs_site_function(frame);

	s->key.length = 0;
	rqs_bytes_put(&s->key, function, strlen(function) + 1);
	rqs_bytes_put(&s->key, frame->file, strlen(frame->file) + 1);
	rqs_bytes_put_u32(&s->key, frame->line);
	return rqs_intern(&s->frames, s->key.at, s->key.length);
}

/* The outermost frame first. */
static void put_stack(struct speedscope *s, const struct rqs_alloc_sites *sites, const struct rqs_alloc_site *site)
{
	rqs_site_path(&s->path, sites, site->stack);
	fputs(s->put++ ? ",[" : "[", s->out);
	for (unsigned i = s->path.count; i > 0; i--)
		fprintf(s->out, "%s%" PRIu32, i < s->path.count ? "," : "", frame_of(s, s->path.frame[i - 1]));
	putc(']', s->out);
}

static void put_weight(struct speedscope *s, const struct rqs_alloc_sites *sites, const struct rqs_alloc_site *site)
{
	uint64_t bytes = rqs_site_rounded(site->allocated.bytes);

	(void)sites;
	fprintf(s->out, "%s%" PRIu64, s->put++ ? "," : "", bytes);
	s->sum += bytes;
}

static void put_profile(struct speedscope *s, uint32_t profile)
{
	size_t length;

	fprintf(s->out, "%s{\"type\":\"sampled\",\"unit\":\"bytes\",\"name\":", profile ? "," : "");
	rqs_put_json_string(s->out, rqs_interned(&s->names, profile, &length));
	fputs(",\"samples\":[", s->out);
	each_site(s, profile, put_stack);
	fputs("],\"weights\":[", s->out);
	s->sum = 0;
	each_site(s, profile, put_weight);
	fprintf(s->out, "],\"startValue\":0,\"endValue\":%" PRIu64 "}\n", s->sum);
}

/* ---- the file ---- */

static void put_frame(struct speedscope *s, uint32_t frame)
{
	size_t length;
	const char *function = rqs_interned(&s->frames, frame, &length);
	const char *file = function + strlen(function) + 1;
	uint32_t line;

	memcpy(&line, file + strlen(file) + 1, sizeof(line));
	fputs(frame ? ",{\"name\":" : "{\"name\":", s->out);
	rqs_put_json_string(s->out, function);
	if (*file) {
		fputs(",\"file\":", s->out);
		rqs_put_json_string(s->out, file);
	}
	if (line)
		fprintf(s->out, ",\"line\":%" PRIu32, line);
	putc('}', s->out);
}

/* Which traces it is of. */
static void put_name(struct speedscope *s)
{
	const struct rqs_traces *traces = s->what->traces;

	if (traces->count == 1)
		rqs_put_json_string(s->out, traces->trace[0].file);
	else
		fprintf(s->out, "\"%u traces\"", traces->count);
}

static void finish_speedscope(void *state)
{
	struct speedscope *s = state;

	find_profiles(s);
	fputs("{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\"exporter\":\"reqscope " RQS_VERSION
	      "\",\"name\":",
	      s->out);
	put_name(s);
	fputs(",\"activeProfileIndex\":0,\"profiles\":[\n", s->out);
	for (uint32_t i = 0; i < s->names.count; i++)
		put_profile(s, i);
	fputs("],\"shared\":{\"frames\":[", s->out);
	for (uint32_t i = 0; i < s->frames.count; i++)
		put_frame(s, i);
	fputs("]}}\n", s->out);
}

const struct rqs_exporter rqs_exporter_speedscope = {
    .name = "speedscope",
    .needs_sites = true,
    .start = start_speedscope,
    .finish = finish_speedscope,
    .free = free_speedscope,
};
