/* telemetry.c - attributes and figures. */
#include "export/telemetry.h"
#include "render/escape.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1000000000u
#define ERROR_STATUS 500

const char *rqs_telemetry_service(const struct rqs_trace *trace)
{
	const cJSON *command = cJSON_GetObjectItemCaseSensitive(trace->run, "command");
	const char *label = rqs_trace_label(trace), *slash;

	if (label)
		return label;
	if (!cJSON_IsString(command ? command->child : NULL))
		return "unknown_service";
	slash = strrchr(command->child->valuestring, '/');
	return slash ? slash + 1 : command->child->valuestring;
}

const char *rqs_telemetry_method(const struct rqs_traces *traces, unsigned row)
{
	const char *method = rqs_route_method(traces->routes, row);

	return strcmp(method, "*") ? method : "_OTHER";
}

const char *rqs_telemetry_error(const struct rqs_outcome *one, char status[8])
{
	if (one->aborted)
		return "aborted";
	if (one->status < ERROR_STATUS)
		return NULL;
	snprintf(status, 8, "%u", one->status % 1000);
	return status;
}

void rqs_put_json_string(FILE *out, const char *text)
{
	char *valid = rqs_valid_utf8(text);

	putc('"', out);
	for (const char *p = valid; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(out, "\\%c", *p);
		else if ((unsigned char)*p < 0x20)
			fprintf(out, "\\u%04x", (unsigned)*p);
		else
			putc(*p, out);
	}
	putc('"', out);
	free(valid);
}

void rqs_put_seconds(FILE *out, unsigned __int128 ns)
{
	fprintf(out, "%" PRIu64 ".%09" PRIu64, (uint64_t)(ns / NS_PER_S), (uint64_t)(ns % NS_PER_S));
}

void rqs_put_sum(FILE *out, unsigned __int128 sum, enum rqs_unit unit)
{
	if (unit == RQS_UNIT_TIME)
		rqs_put_seconds(out, sum);
	else if (sum <= UINT64_MAX)
		fprintf(out, "%" PRIu64, (uint64_t)sum);
	else
		fprintf(out, "%.17g", (double)sum);
}

struct list {
	struct rqs_figure *figure;
	unsigned count;
};

static void add(struct list *l, const struct rqs_figure *f)
{
	if (isfinite(f->number))
		l->figure[l->count++] = *f;
}

static void add_level(struct list *l, const char *name, const char *unit, const char *help,
		      const struct rqs_level *level)
{
	struct rqs_figure f = {name, unit, help, false, "statistic", "mean", level->mean};

	if (!level->known)
		return;
	add(l, &f);
	f.value = "peak";
	f.number = level->peak;
	add(l, &f);
}

static void add_cpu(struct list *l, const struct rqs_result *r)
{
	struct rqs_figure f = {"process.cpu.time", "s", "CPU time of the server's processes", true, "cpu.mode", "user",
			       r->cpu_user};

	if (!r->cpu_known)
		return;
	add(l, &f);
	f.value = "system";
	f.number = r->cpu_system;
	add(l, &f);
}

static void add_completeness(struct list *l, const struct rqs_result *r)
{
	if (!r->completeness.known)
		return;
#define ADD(name)                                                                                                      \
	add(l, &(struct rqs_figure){"reqscope.recording.requests", "1",                                                \
				    "Requests of the whole recording by what became of them", true, "state", #name,    \
				    (double)r->completeness.name});
	RQS_COMPLETENESS(ADD)
#undef ADD
}

static void add_allocs(struct list *l, const struct rqs_result *r)
{
#define ADD(name)                                                                                                      \
	if (r->name.known)                                                                                             \
		add(l, &(struct rqs_figure){"reqscope.recording.alloc", "By",                                          \
					    "Allocations of the whole recording: all, and those of no request", true,  \
					    "part", #name, (double)r->name.bytes});
	RQS_ALLOCS(ADD)
#undef ADD
}

static void add_counted(struct list *l, const char *name, const char *unit, const char *help,
			const struct rqs_counted *counted)
{
	if (counted->known)
		add(l, &(struct rqs_figure){name, unit, help, true, NULL, NULL, counted->value});
}

unsigned rqs_telemetry_figures(const struct rqs_result *r, struct rqs_figure figure[RQS_FIGURES_MAX])
{
	struct list l = {figure, 0};

	add_cpu(&l, r);
	add_level(&l, "reqscope.process.rss", "By", "Resident memory of all processes together", &r->rss);
	add_level(&l, "reqscope.runtime.heap_in_use", "By", "The runtime's heap in use", &r->heap_in_use);
	add_level(&l, "reqscope.runtime.heap_goal", "By", "The heap's size at the next collection", &r->heap_goal);
	add_level(&l, "reqscope.runtime.goroutines", "1", "Goroutines that exist", &r->goroutines);
	add_counted(&l, "reqscope.runtime.gc.cycles", "1", "Collections that ended", &r->gc_cycles);
	add_counted(&l, "reqscope.runtime.gc.pause", "s", "The program stopped for collections", &r->gc_pause);
	add_completeness(&l, r);
	add_allocs(&l, r);
	return l.count;
}
