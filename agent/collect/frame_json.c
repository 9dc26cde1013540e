/* frame_json.c - facts to JSON. */
#include "collect/frame_json.h"
#include "collect/totals_list.h"
#include "collect/notes.h"
#include "collect/text.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define VALUE_MAX (1ull << 53)

static uint64_t representable(uint64_t value)
{
	return value < VALUE_MAX ? value : VALUE_MAX;
}

static void add_number(cJSON *object, const char *key, uint64_t value)
{
	cJSON_AddNumberToObject(object, key, (double)representable(value));
}

static void add_ns(cJSON *object, const char *key, uint64_t ns)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, ns);
	cJSON_AddStringToObject(object, key, text);
}

/* A string of `length` bytes from outside, made fit for JSON. */
static cJSON *make_string(const char *text, size_t length)
{
	char *copy = strndup(text, length);
	cJSON *string;

	if (!copy)
		return NULL;
	rqs_make_printable(copy, strlen(copy));
	string = cJSON_CreateString(copy);
	free(copy);
	return string;
}

/* Text or null. */
static void add_text(cJSON *object, const char *key, const char *text)
{
	cJSON_AddItemToObject(object, key, text ? make_string(text, strlen(text)) : cJSON_CreateNull());
}

static void add_command_text(cJSON *object, const char *text, size_t length)
{
	cJSON *command = cJSON_AddArrayToObject(object, "command");

	for (size_t at = 0; text && at < length;) {
		size_t part = strnlen(text + at, length - at);

		cJSON_AddItemToArray(command, make_string(text + at, part));
		at += part + 1;
	}
}

static void add_arguments(cJSON *object, char *const *arguments, int count)
{
	cJSON *command = cJSON_AddArrayToObject(object, "command");

	for (int i = 0; i < count; i++)
		cJSON_AddItemToArray(command, make_string(arguments[i], strlen(arguments[i])));
}

static char *print_and_delete(cJSON *object)
{
	char *text = cJSON_PrintUnformatted(object);

	cJSON_Delete(object);
	return text;
}

static void read_cpu_name(char *name, size_t size)
{
	char line[512];
	FILE *file = fopen("/proc/cpuinfo", "re");

	snprintf(name, size, "unknown");
	while (file && fgets(line, sizeof(line), file)) {
		char *value = strchr(line, ':');

		if (strncmp(line, "model name", 10) || !value)
			continue;
		value += 1 + strspn(value + 1, " \t");
		snprintf(name, size, "%.*s", (int)strcspn(value, "\n"), value);
		break;
	}
	if (file)
		fclose(file);
}

static void add_host(cJSON *run)
{
	cJSON *host = cJSON_AddObjectToObject(run, "host");
	struct utsname name;
	bool named = !uname(&name);
	char cpu[256];

	read_cpu_name(cpu, sizeof(cpu));
	add_text(host, "name", named ? name.nodename : NULL);
	add_text(host, "kernel", named ? name.release : "unknown");
	add_text(host, "cpu", cpu);
	add_number(host, "cpus", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
	add_number(host, "memory_bytes", (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

char *rqs_payload_run(const struct rqs_run_facts *facts)
{
	cJSON *run = cJSON_CreateObject();

	cJSON_AddStringToObject(run, "schema", "reqscope.run/1");
	cJSON_AddStringToObject(run, "agent_version", RQS_VERSION);
	cJSON_AddStringToObject(run, "mode", facts->mode);
	add_text(run, "label", facts->label);
	if (facts->command)
		add_arguments(run, facts->command, facts->command_count);
	else
		add_command_text(run, facts->command_text, facts->command_length);
	add_ns(run, "start_monotonic_ns", facts->start_monotonic_ns);
	add_ns(run, "start_realtime_ns", facts->start_realtime_ns);
	cJSON_AddStringToObject(run, "clock", facts->clock == RQS_CLOCK_TSC ? "tsc" : "monotonic");
	add_host(run);
	cJSON *options = cJSON_AddObjectToObject(run, "options");
	if (facts->duration_ns)
		add_ns(options, "duration_ns", facts->duration_ns);
	if (facts->sample_bytes)
		add_number(options, "sample_bytes", facts->sample_bytes);
	return print_and_delete(run);
}

static const char *runtime_name(uint32_t runtime)
{
	static const char *const names[] = {
#define NAME(symbol, name) #name,
		RQS_RUNTIMES(NAME)
#undef NAME
	};

	return names[runtime < RQS_RUNTIME_COUNT ? runtime : RQS_RUNTIME_NATIVE];
}

char *rqs_payload_process(const struct rqs_watched *watched)
{
	cJSON *process = cJSON_CreateObject();

	add_number(process, "process", watched->index);
	add_number(process, "pid", (uint32_t)watched->pid);
	add_number(process, "ppid", (uint32_t)watched->parent);
	add_ns(process, "start_monotonic_ns", watched->start_ns);
	add_command_text(process, watched->command, watched->command_length);
	cJSON *runtime = cJSON_AddObjectToObject(process, "runtime");
	cJSON_AddStringToObject(runtime, "name", runtime_name(watched->runtime));
	add_text(runtime, "version", watched->version[0] ? watched->version : NULL);
	return print_and_delete(process);
}

/*
 * A process that has ended: each open slot was looked at. One that lives: what
 * was started and isn't in the trace yet is open as far as the trace knows,
 * so that the sums balance in a trace cut short, too.
 */
struct rqs_completeness rqs_completeness_of(const struct rqs_watched *watched)
{
	const struct rqs_sums *folded = &watched->folded, *live = &watched->live;
	struct rqs_completeness c = {
	    .started = folded->opened + live->opened + watched->unslotted + watched->preceding,
	    .finished = watched->records - watched->lost,
	    .dropped = folded->dropped + live->dropped + watched->unslotted + watched->lost,
	    .given_up = folded->given_up + live->given_up,
	    .unfinished = folded->unfinished + watched->preceding,
	};
	uint64_t ended = c.finished + c.dropped + c.given_up;

	if (!watched->ended)
		c.unfinished = c.started > ended ? c.started - ended : 0;
	return c;
}

struct rqs_completeness rqs_completeness_sum(const struct rqs_processes *processes)
{
	struct rqs_completeness sum = {0};

	for (uint32_t i = 0; i < processes->noted_count; i++) {
		struct rqs_completeness one = rqs_completeness_of(processes->noted[i]);

		sum.started += one.started;
		sum.finished += one.finished;
		sum.dropped += one.dropped;
		sum.unfinished += one.unfinished;
		sum.given_up += one.given_up;
	}
	return sum;
}

static void add_completeness(cJSON *object, struct rqs_completeness c)
{
	cJSON *completeness = cJSON_AddObjectToObject(object, "completeness");

	add_number(completeness, "started", c.started);
	add_number(completeness, "finished", c.finished);
	add_number(completeness, "dropped", c.dropped);
	add_number(completeness, "unfinished", c.unfinished);
	add_number(completeness, "given_up", c.given_up);
}

static void add_alloc(cJSON *object, const char *key, bool measured, uint64_t bytes, uint64_t count)
{
	if (!measured) {
		cJSON_AddNullToObject(object, key);
		return;
	}
	cJSON *alloc = cJSON_AddObjectToObject(object, key);
	add_number(alloc, "alloc_bytes", bytes);
	add_number(alloc, "alloc_count", count);
}

struct rqs_alloc_sums rqs_alloc_sums_of(const struct rqs_watched *watched)
{
	const struct rqs_sums *folded = &watched->folded, *live = &watched->live;
	struct rqs_alloc_sums sums = {
	    .bytes = {.whole = representable(rqs_net(folded->alloc_bytes + live->alloc_bytes)),
		      .requests = watched->record_alloc_bytes},
	    .count = {.whole = representable(folded->alloc_count + live->alloc_count),
		      .requests = watched->record_alloc_count},
	};

	if (rqs_watched_is_go(watched)) {
		sums.measured = (watched->measures & RQS_MEASURES_ALLOC) && watched->table.known;
	} else if (rqs_watched_is_python(watched)) {
		sums.measured = sums.has_after = (watched->measures & RQS_MEASURES_ALLOC) && !watched->exchanged;
	} else {
		sums.measured = sums.count.whole > 0;
	}
	if (sums.has_after) {
		sums.bytes.after = representable(rqs_net(watched->after_bytes));
		sums.count.after = representable(watched->after_count);
	}
	return sums;
}

/* What no record carries, and what didn't come after one, is unattributed: so the parts add up to the whole. */
static uint64_t unattributed(const struct rqs_alloc_parts *parts)
{
	unsigned __int128 told = parts->requests + parts->after;

	return parts->whole > told ? (uint64_t)(parts->whole - told) : 0;
}

static void add_allocs(cJSON *object, const struct rqs_watched *watched)
{
	struct rqs_alloc_sums sums = rqs_alloc_sums_of(watched);

	add_alloc(object, "process_alloc", sums.measured, sums.bytes.whole, sums.count.whole);
	add_alloc(object, "unattributed", sums.measured, unattributed(&sums.bytes), unattributed(&sums.count));
	add_alloc(object, "after_response", sums.has_after, sums.bytes.after, sums.count.after);
}

static void add_events(cJSON *object, const struct rqs_watched *watched)
{
	static const char *const names[RQS_EVENT_COUNT] = {
#define RQS_EVENT_NAME(symbol, name) name,
	    RQS_EVENTS(RQS_EVENT_NAME)
#undef RQS_EVENT_NAME
	};
	cJSON *events = cJSON_AddObjectToObject(object, "events");

	for (unsigned i = 0; i < RQS_EVENT_COUNT; i++)
		if (watched->events[i])
			add_number(events, names[i], watched->events[i]);
}

static cJSON *make_process_totals(const struct rqs_watched *watched)
{
	cJSON *process = cJSON_CreateObject();

	add_number(process, "process", watched->index);
	add_completeness(process, rqs_completeness_of(watched));
	cJSON *connections = cJSON_AddObjectToObject(process, "connections");
	add_number(connections, "accepted", watched->accepted);
	add_number(connections, "peak", watched->connections_peak);
	add_allocs(process, watched);
	if (watched->rss_peak)
		add_number(process, "rss_peak", watched->rss_peak);
	else
		cJSON_AddNullToObject(process, "rss_peak");
	add_events(process, watched);
	return process;
}

/* Where a process was attached to, and that is done. */
static void add_attached(cJSON *totals, const struct rqs_attached *attached)
{
	if (!attached->begun_ns)
		return;
	cJSON *attach = cJSON_AddObjectToObject(totals, "attach");
	add_number(attach, "pid", attached->pid);
	add_number(attach, "processes", attached->processes);
	add_ns(attach, "attach_stopped_ns", attached->attach_stopped_ns);
	if (attached->detached)
		add_ns(attach, "detach_stopped_ns", attached->detach_stopped_ns);
	else
		cJSON_AddNullToObject(attach, "detach_stopped_ns");
}

char *rqs_payload_totals(const struct rqs_processes *processes, const struct rqs_troubles *troubles, uint64_t now_ns,
			 const char *reason)
{
	cJSON *totals = cJSON_CreateObject();

	if (reason)
		cJSON_AddStringToObject(totals, "reason", reason);
	add_ns(totals, "end_monotonic_ns", now_ns);
	add_completeness(totals, rqs_completeness_sum(processes));
	cJSON *connections = cJSON_AddObjectToObject(totals, "connections");
	add_number(connections, "peak", rqs_processes_connections_peak(processes));
	add_number(totals, "unplaced", troubles->unplaced);
	add_attached(totals, &troubles->attached);
	rqs_add_notes(cJSON_AddArrayToObject(totals, "notes"), processes, troubles, reason != NULL);
	struct rqs_totals_list list = {.list = cJSON_AddArrayToObject(totals, "processes")};
	for (uint32_t i = 0; i < processes->noted_count; i++)
		rqs_totals_list_add(&list, make_process_totals(processes->noted[i]));
	return print_and_delete(totals);
}
