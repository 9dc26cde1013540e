/*
 * preflight.c - is the load the same, the route mix, the machine?
 *
 * In a closed loop the rate follows the latency, so that a different rate
 * alone says nothing: load is matched when the rates or the connections agree.
 */
#include "report/preflight.h"
#include "report/report_doc.h"
#include "base/alloc.h"
#include "render/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOAD_TOLERANCE 0.10
#define SHARE_TOLERANCE 0.02

struct preflight {
	const struct rqs_comparison *c;
	void (*tell)(void *context, const char *id, const char *text);
	void *context;
};

/* Takes over the text. */
static void say(const struct preflight *p, const char *id, char *text)
{
	p->tell(p->context, id, text);
	free(text);
}

static bool near(double a, double b)
{
	return fabs(a - b) <= LOAD_TOLERANCE * fmax(fabs(a), fabs(b));
}

/* Connections that weren't counted are no load. */
static bool has_peak(const struct rqs_result *r)
{
	return r->connections_known && r->peak > 0;
}

static char *load_phrase(const struct rqs_side *s, bool base)
{
	char *rate = rqs_human_rate(rqs_throughput(&s->result, &s->result.all));
	char *text = has_peak(&s->result)
			 ? rqs_format("%s %s over at most %" PRIu64 " connections", s->name, rate, s->result.peak)
			 : rqs_format("%s %s", s->name, rate);

	(void)base;
	free(rate);
	return text;
}

bool rqs_load_matches(const struct rqs_comparison *c, unsigned side)
{
	const struct rqs_result *a = &c->side[0].result, *b = &c->side[side].result;
	bool connections = has_peak(a) && has_peak(b) && near((double)a->peak, (double)b->peak);

	return !a->all.requests || !b->all.requests || connections ||
	       near(rqs_throughput(a, &a->all), rqs_throughput(b, &b->all));
}

static double share(const struct rqs_side *s, unsigned row)
{
	const struct rqs_cell *cell = rqs_route_cell(&s->result, (int)row);

	return cell ? (double)cell->requests / (double)s->result.all.requests : 0;
}

/* The route whose shares differ most, -1 when none's do. */
static int other_share(const struct rqs_comparison *c, const struct rqs_side *base, const struct rqs_side *new)
{
	double worst = SHARE_TOLERANCE * (1 + 1e-9);
	int which = -1;

	if (!base->result.all.requests || !new->result.all.requests)
		return which;
	for (unsigned row = 0; row < rqs_routes_count(c->traces.routes); row++) {
		double difference = fabs(share(base, row) - share(new, row));

		if (difference > worst) {
			worst = difference;
			which = (int)row;
		}
	}
	return which;
}

bool rqs_mix_matches(const struct rqs_comparison *c, unsigned side)
{
	return other_share(c, &c->side[0], &c->side[side]) < 0;
}

static void check_mix(const struct preflight *p, const struct rqs_side *base, const struct rqs_side *new)
{
	int which = other_share(p->c, base, new);

	if (which < 0)
		return;
	char *route = rqs_route_text(p->c->traces.routes, (unsigned)which);
	char *one = rqs_human_percent(share(base, (unsigned)which));
	char *other = rqs_human_percent(share(new, (unsigned)which));
	say(p, "route_mix",
	    rqs_format("different route mix: %s is %s of %s and %s of %s; compare route by route", route, one,
		       base->name, other, new->name));
	free(route);
	free(one);
	free(other);
}

/* ---- what is told of all sides at once ---- */

struct matter {
	const char *id, *head, *tail;
	bool (*differs)(const struct preflight *p, unsigned side);
	char *(*phrase)(const struct rqs_side *s, bool base);
};

/* "HEAD 2 of Gin, 3 of Express, 4 of Flask TAIL": the base and those that differ from it, if any does. */
static void tell_all(const struct preflight *p, const struct matter *m)
{
	char *phrase = m->phrase(p->c->side, true), *text = rqs_format("%s%s", m->head, phrase);
	bool any = false;

	free(phrase);
	for (unsigned i = 1; i < p->c->sides; i++) {
		if (!m->differs(p, i))
			continue;
		any = true;
		phrase = m->phrase(&p->c->side[i], false);
		char *longer = rqs_format("%s, %s", text, phrase);
		free(phrase);
		free(text);
		text = longer;
	}
	if (any)
		say(p, m->id, rqs_format("%s%s", text, m->tail));
	free(text);
}

static bool load_differs(const struct preflight *p, unsigned side)
{
	return !rqs_load_matches(p->c, side);
}

static const struct matter load = {"load_not_matched", "load not matched: ", "; their latencies are not like for like",
				   load_differs, load_phrase};

static bool flight_differs(const struct preflight *p, unsigned side)
{
	double a = rqs_in_flight_mean(&p->c->side[0].result), b = rqs_in_flight_mean(&p->c->side[side].result);

	return !isnan(a) && !isnan(b) && !near(a, b);
}

static char *flight_phrase(const struct rqs_side *s, bool base)
{
	return rqs_format("%.3g %sof %s", rqs_in_flight_mean(&s->result), base ? "on average " : "", s->name);
}

static const struct matter flight = {"in_flight", "different numbers of requests in flight: ", "", flight_differs,
				     flight_phrase};

static double workers(const struct rqs_side *s)
{
	return (double)s->result.processes / s->runs;
}

static bool workers_differ(const struct preflight *p, unsigned side)
{
	return workers(p->c->side) != workers(&p->c->side[side]);
}

static char *workers_phrase(const struct rqs_side *s, bool base)
{
	char *number = rqs_human_count(workers(s)), *text = rqs_format("%s of %s", number, s->name);

	(void)base;
	free(number);
	return text;
}

static const struct matter processes = {"processes", "different numbers of processes: ", "", workers_differ,
					workers_phrase};

/* Of all latencies, those that begin with the read: the arrival wasn't stamped. NAN where there are none. */
static double from_read(const struct rqs_side *s)
{
	const struct rqs_cell *all = &s->result.all;
	double known = (double)all->from_read + (double)all->from_kernel;

	return known > 0 ? (double)all->from_read / known : NAN;
}

static bool beginning_differs(const struct preflight *p, unsigned side)
{
	return fabs(from_read(p->c->side) - from_read(&p->c->side[side])) > SHARE_TOLERANCE;
}

static char *beginning_phrase(const struct rqs_side *s, bool base)
{
	char *part = rqs_human_percent(from_read(s)), *text = rqs_format("%s of %s", part, s->name);

	(void)base;
	free(part);
	return text;
}

static const struct matter beginning = {
    "latency_from",
    "latencies begin with the read, not with the arrival in the kernel: ", "; what those waited before isn't in them",
    beginning_differs, beginning_phrase};

/* ---- side by side ---- */

/* X(key of the run frame's host object, what it is called). */
#define HOST_FACTS(X) X(cpu, "CPUs") X(cpus, "numbers of CPUs") X(kernel, "kernels") X(memory_bytes, "memory sizes")

static char *host_fact(const struct rqs_trace *t, const char *key)
{
	const cJSON *host = cJSON_GetObjectItemCaseSensitive(t->run, "host");
	const cJSON *fact = cJSON_GetObjectItemCaseSensitive(host, key);

	if (cJSON_IsString(fact))
		return rqs_strndup(fact->valuestring, strlen(fact->valuestring));
	if (!cJSON_IsNumber(fact))
		return NULL;
	return strcmp(key, "memory_bytes") ? rqs_human_count(fact->valuedouble) : rqs_human_bytes(fact->valuedouble);
}

/* Of two runs. Whether there was something to say. */
static bool check_fact(const struct preflight *p, unsigned a, unsigned b, const char *key, const char *called)
{
	const struct rqs_trace *trace = p->c->traces.trace;
	char *one = host_fact(&trace[a], key), *other = host_fact(&trace[b], key);
	bool differs = one && other && strcmp(one, other);

	if (differs) {
		char *id = rqs_format("host_%s", key);

		say(p, id,
		    rqs_format("different %s: %s ran on %s, %s on %s", called, p->c->file[a], one, p->c->file[b],
			       other));
		free(id);
	}
	free(one);
	free(other);
	return differs;
}

/* Each run of both sides against the base's first; the first one that differs is told. */
static void check_host(const struct preflight *p, const struct rqs_side *base, const struct rqs_side *new)
{
#define CHECK(key, called)                                                                                             \
	do {                                                                                                           \
		bool told = false;                                                                                     \
		for (unsigned i = 1; i < base->runs && !told && new == base + 1; i++)                                  \
			told = check_fact(p, base->first, base->first + i, #key, called);                              \
		for (unsigned i = 0; i < new->runs && !told; i++)                                                      \
			told = check_fact(p, base->first, new->first + i, #key, called);                               \
	} while (0);
	HOST_FACTS(CHECK)
#undef CHECK
}

static void check_versions(const struct preflight *p, const struct rqs_side *base, const struct rqs_side *new)
{
	const struct rqs_trace *a = &p->c->traces.trace[base->first], *b = &p->c->traces.trace[new->first];
	const char *one = rqs_json_string(a->run, "agent_version"), *other = rqs_json_string(b->run, "agent_version");

	if (one && other && strcmp(one, other))
		say(p, "agent_version",
		    rqs_format("recorded by different reqscopes: %s by %s, %s by %s", base->name, one, new->name,
			       other));
}

static unsigned attached_runs(const struct preflight *p, const struct rqs_side *s)
{
	unsigned count = 0;

	for (unsigned run = s->first; run < s->first + s->runs; run++)
		count += rqs_trace_is_attached(&p->c->traces.trace[run]);
	return count;
}

/* A server that has run for long is warm, and has memory of requests that nobody recorded. */
static void check_attached(const struct preflight *p, const struct rqs_side *base, const struct rqs_side *new)
{
	unsigned one = attached_runs(p, base), other = attached_runs(p, new);

	if (!one == !other && (one == base->runs) == (other == new->runs))
		return;
	say(p, "attached",
	    rqs_format(
		"%s %s recorded by attaching to a server that ran, %s from its start on: its caches are cold, and "
		"its memory (RSS, heap) and totals include the warm-up",
		one ? base->name : new->name, (one ? one < base->runs : other < new->runs) ? "was partly" : "was",
		one ? new->name : base->name));
}

/* Whether two are the same recording: begun at one time, of as many requests, which took as long together. */
static bool same_recording(const struct rqs_trace *a, const struct rqs_trace *b)
{
	return a->start_realtime == b->start_realtime && a->first_arrival == b->first_arrival && a->result.recorded &&
	       a->result.recorded == b->result.recorded &&
	       a->result.all.metric[RQS_METRIC_LATENCY].sum == b->result.all.metric[RQS_METRIC_LATENCY].sum;
}

/* One recording given twice looks like two runs that don't vary. */
static void check_repetition(const struct preflight *p)
{
	const struct rqs_trace *trace = p->c->traces.trace;

	for (unsigned i = 0; i < p->c->sides; i++) {
		const struct rqs_side *s = &p->c->side[i];

		for (unsigned run = s->first + 1; run < s->first + s->runs; run++)
			if (same_recording(&trace[run - 1], &trace[run])) {
				say(p, "repeated_run",
				    rqs_format("%s has the same recording twice, as if it were two runs: %s, %s",
					       s->name, trace[run - 1].file, trace[run].file));
				break;
			}
	}
}

static void check_runs(const struct preflight *p)
{
	unsigned single = 0;

	for (unsigned i = 0; i < p->c->sides; i++)
		single += p->c->side[i].runs == 1;
	if (single)
		say(p, "single_runs",
		    rqs_format("one run a side%s: a difference may be chance; several runs of each tell more",
			       single < p->c->sides ? " of some" : ""));
}

void rqs_preflight(const struct rqs_comparison *c, void (*tell)(void *context, const char *id, const char *text),
		   void *context)
{
	const struct preflight p = {c, tell, context};
	static const struct {
		const struct matter *of_all;
		void (*of_pair)(const struct preflight *p, const struct rqs_side *base, const struct rqs_side *new);
	} checks[] = {{.of_all = &load},           {.of_all = &flight},        {.of_all = &beginning},
		      {.of_pair = check_mix},      {.of_pair = check_host},    {.of_all = &processes},
		      {.of_pair = check_versions}, {.of_pair = check_attached}};

	for (unsigned check = 0; check < sizeof(checks) / sizeof(checks[0]); check++) {
		if (checks[check].of_all)
			tell_all(&p, checks[check].of_all);
		for (unsigned i = 1; checks[check].of_pair && i < c->sides; i++)
			checks[check].of_pair(&p, &c->side[0], &c->side[i]);
	}
	check_repetition(&p);
	check_runs(&p);
}
