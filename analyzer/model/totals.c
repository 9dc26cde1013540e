/* totals.c - completeness, connections, allocation and notes of the totals. */
#include "model/totals.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void add_alloc(struct rqs_alloc *to, const cJSON *process, const char *key)
{
	const cJSON *alloc = cJSON_GetObjectItemCaseSensitive(process, key);

	if (!cJSON_IsObject(alloc))
		return;
	to->known = true;
	rqs_alloc_add(to, rqs_json_u64(alloc, "alloc_bytes"), rqs_json_u64(alloc, "alloc_count"));
}

static void add_connections(struct rqs_result *r, const cJSON *process)
{
	const cJSON *connections = cJSON_GetObjectItemCaseSensitive(process, "connections");

	if (!cJSON_IsObject(connections))
		return;
	r->connections_known = true;
	r->accepted += rqs_json_u64(connections, "accepted");
	r->peak += rqs_json_u64(connections, "peak");
}

static void note_events(struct rqs_result *r, const cJSON *process)
{
	const cJSON *event;

	cJSON_ArrayForEach(event, cJSON_GetObjectItemCaseSensitive(process, "events"))
	{
		if (!event->string || !cJSON_IsNumber(event) || event->valuedouble <= 0)
			continue;
		char *what = rqs_format("event %s", event->string);
		rqs_result_note(r, what, "the agent met it and could not follow");
		free(what);
	}
}

static void apply_processes(struct rqs_trace *t)
{
	struct rqs_result *r = &t->result;
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(t->totals, "processes"), *process;
	int processes = 0;
	uint64_t peak = 0;

	cJSON_ArrayForEach(process, list)
	{
		processes++;
		peak = rqs_json_u64(process, "rss_peak");
		add_connections(r, process);
#define ADD(name) add_alloc(&r->name, process, #name);
		RQS_ALLOCS(ADD)
#undef ADD
		note_events(r, process);
	}
	/* A single process's own high-water mark sees what falls between two samples. */
	if (processes == 1 && t->result.processes <= 1 && peak) {
		r->rss.peak = r->rss.known && r->rss.peak > (double)peak ? r->rss.peak : (double)peak;
		if (!r->rss.known)
			r->rss.mean = NAN;
		r->rss.known = true;
	}
}

/* The processes' peaks, added up, may be more than were ever open; early traces tell no more. */
static void apply_connections(struct rqs_trace *t)
{
	const cJSON *connections = cJSON_GetObjectItemCaseSensitive(t->totals, "connections");

	if (cJSON_IsObject(connections))
		t->result.peak = rqs_json_u64(connections, "peak");
}

static void apply_notes(struct rqs_trace *t)
{
	const cJSON *note;

	cJSON_ArrayForEach(note, cJSON_GetObjectItemCaseSensitive(t->totals, "notes"))
	{
		const char *what = rqs_json_string(note, "what"), *why = rqs_json_string(note, "why");

		if (what)
			rqs_result_note(&t->result, what, why ? why : "");
	}
}

/* Whether a note tells of it: alone, or with others behind it. */
static bool noted(const struct rqs_result *r, const char *what)
{
	size_t length = strlen(what);

	for (unsigned i = 0; i < r->notes; i++)
		if (!strncmp(r->note[i].what, what, length) && strchr(",", r->note[i].what[length]))
			return true;
	return false;
}

static void note_unless_noted(struct rqs_result *r, const char *what, const char *why)
{
	if (!noted(r, what))
		rqs_result_note(r, what, why);
}

static void note_runtime_stats(struct rqs_result *r)
{
	char *missing = rqs_format("%s", "");

#define MISSING(name)                                                                                                  \
	if (!r->name.known) {                                                                                          \
		char *longer = rqs_format("%s%s" #name, missing, *missing ? ", " : "");                                \
		free(missing);                                                                                         \
		missing = longer;                                                                                      \
	}
	RQS_RUNTIME_LEVELS(MISSING)
	RQS_RUNTIME_COUNTS(MISSING)
#undef MISSING
	if (*missing)
		note_unless_noted(r, missing, "there is none, or it wasn't found in the memory of the Go program");
	free(missing);
}

/* What the analyzer itself sees missing. The agent's own reasons are better and stand. */
static void note_missing(struct rqs_trace *t)
{
	struct rqs_result *r = &t->result;

	if (!r->completeness.known)
		note_unless_noted(r, "completeness", "the trace has no totals: recording ended before the first ones");
	if (!r->cpu_known)
		note_unless_noted(r, "cpu", "the trace has no CPU samples");
	if (!r->rss.known)
		note_unless_noted(r, "memory", "the trace has no memory samples");
	if (!r->all.requests)
		return;
	if (r->has_runtime_stats)
		note_runtime_stats(r);
	if (r->all.metric[RQS_METRIC_LATENCY].count && !r->all.from_kernel)
		note_unless_noted(r, "queue",
				  "no request has an arrival time of the kernel; latency counts from the read");
	if (!r->all.metric[RQS_METRIC_ALLOC_BYTES].count)
		note_unless_noted(r, "alloc_bytes, alloc_count", "no request has its allocations attributed to it");
}

void rqs_totals_apply(struct rqs_trace *t)
{
	struct rqs_result *r = &t->result;
	const cJSON *completeness = cJSON_GetObjectItemCaseSensitive(t->totals, "completeness");

	if (cJSON_IsObject(completeness)) {
		r->completeness.known = true;
#define TAKE(name) r->completeness.name = rqs_json_u64(completeness, #name);
		RQS_COMPLETENESS(TAKE)
#undef TAKE
	} else {
		r->completeness.finished = r->recorded;
	}
	if (t->totals) {
		r->unplaced = rqs_json_u64(t->totals, "unplaced");
		apply_processes(t);
		apply_connections(t);
		apply_notes(t);
	}
	note_missing(t);
}

void rqs_totals_apply_sites(struct rqs_trace *t)
{
	const cJSON *options = cJSON_GetObjectItemCaseSensitive(t->run, "options"), *process;
	uint64_t mean = rqs_json_u64(options, "sample_bytes");
	struct rqs_alloc_sites *s = &t->result.sites;

	if (mean && !s->samples)
		s->sample_bytes = (double)mean;
	s->known |= mean != 0;
	cJSON_ArrayForEach(process, cJSON_GetObjectItemCaseSensitive(t->totals, "processes"))
	{
		const cJSON *events = cJSON_GetObjectItemCaseSensitive(process, "events");
		uint64_t lost = rqs_json_u64(events, "sample_lost");

		s->lost = lost > UINT64_MAX - s->lost ? UINT64_MAX : s->lost + lost;
	}
}
