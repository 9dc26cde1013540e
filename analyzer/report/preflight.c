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

static char *load_text(const struct rqs_side *s)
{
	char *rate = rqs_human_rate(rqs_throughput(&s->result, &s->result.all));
	char *text = s->result.connections_known
			 ? rqs_format("%s %s over at most %" PRIu64 " connections", s->name, rate, s->result.peak)
			 : rqs_format("%s %s", s->name, rate);

	free(rate);
	return text;
}

bool rqs_load_matches(const struct rqs_comparison *c, unsigned side)
{
	const struct rqs_result *a = &c->side[0].result, *b = &c->side[side].result;
	bool connections = a->connections_known && b->connections_known && near((double)a->peak, (double)b->peak);

	return !a->all.requests || !b->all.requests || connections ||
	       near(rqs_throughput(a, &a->all), rqs_throughput(b, &b->all));
}

static void check_load(const struct preflight *p, const struct rqs_side *base, const struct rqs_side *new)
{
	if (rqs_load_matches(p->c, (unsigned)(new - p->c->side)))
		return;
	char *one = load_text(base), *other = load_text(new);
	say(p, "load_not_matched",
	    rqs_format("load not matched: %s, %s; their latencies are not like for like", one, other));
	free(one);
	free(other);
}

static double share(const struct rqs_side *s, unsigned row)
{
	const struct rqs_cell *cell = rqs_side_cell(s, row);

	return cell ? (double)cell->requests / (double)s->result.all.requests : 0;
}

static void check_mix(const struct preflight *p, const struct rqs_side *base, const struct rqs_side *new)
{
	double worst = SHARE_TOLERANCE;
	int which = -1;

	if (!base->result.all.requests || !new->result.all.requests)
		return;
	for (unsigned row = 0; row < rqs_routes_count(p->c->traces.routes); row++) {
		double difference = fabs(share(base, row) - share(new, row));

		if (difference > worst) {
			worst = difference;
			which = (int)row;
		}
	}
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

/* X(key of the run frame's host object, what it is called). */
#define HOST_FACTS(X) X(cpu, "CPUs") X(cpus, "numbers of CPUs") X(kernel, "kernels") X(memory_bytes, "memory sizes")

static char *host_fact(const struct rqs_comparison *c, const struct rqs_side *s, const char *key)
{
	const cJSON *host = cJSON_GetObjectItemCaseSensitive(c->traces.trace[s->first].run, "host");
	const cJSON *fact = cJSON_GetObjectItemCaseSensitive(host, key);

	if (cJSON_IsString(fact))
		return rqs_strndup(fact->valuestring, strlen(fact->valuestring));
	if (!cJSON_IsNumber(fact))
		return NULL;
	return strcmp(key, "memory_bytes") ? rqs_human_count(fact->valuedouble) : rqs_human_bytes(fact->valuedouble);
}

static void check_host(const struct preflight *p, const struct rqs_side *base, const struct rqs_side *new)
{
#define CHECK(key, called)                                                                                             \
	do {                                                                                                           \
		char *one = host_fact(p->c, base, #key), *other = host_fact(p->c, new, #key);                          \
		if (one && other && strcmp(one, other))                                                                \
			say(p, "host_" #key,                                                                           \
			    rqs_format("different %s: %s ran on %s, %s on %s", called, base->name, one, new->name,     \
				       other));                                                                        \
		free(one);                                                                                             \
		free(other);                                                                                           \
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

static void check_runs(const struct preflight *p)
{
	for (unsigned i = 0; i < p->c->sides; i++)
		if (p->c->side[i].runs > 1)
			return;
	say(p, "single_runs", rqs_format("one run a side: a difference may be chance; several runs of each tell more"));
}

void rqs_preflight(const struct rqs_comparison *c, void (*tell)(void *context, const char *id, const char *text),
		   void *context)
{
	const struct preflight p = {c, tell, context};
	static void (*const checks[])(const struct preflight *p, const struct rqs_side *base,
				      const struct rqs_side *new) = {check_load, check_mix, check_host, check_versions};

	for (unsigned check = 0; check < sizeof(checks) / sizeof(checks[0]); check++)
		for (unsigned i = 1; i < c->sides; i++)
			checks[check](&p, &c->side[0], &c->side[i]);
	check_runs(&p);
}
