/* frame_json.c - facts to JSON. */
#include "collect/frame_json.h"
#include "collect/text.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define VALUE_MAX (1ull << 53)

static void add_number(cJSON *object, const char *key, uint64_t value)
{
	cJSON_AddNumberToObject(object, key, (double)(value < VALUE_MAX ? value : VALUE_MAX));
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
	char cpu[256];

	read_cpu_name(cpu, sizeof(cpu));
	add_text(host, "kernel", uname(&name) ? "unknown" : name.release);
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
	return print_and_delete(run);
}

static const char *runtime_name(uint32_t runtime)
{
	switch (runtime) {
	case RQS_RUNTIME_PYTHON:
		return "python";
	case RQS_RUNTIME_NODE:
		return "node";
	case RQS_RUNTIME_GO:
		return "go";
	default:
		return "native";
	}
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
	    .started = folded->opened + live->opened + watched->unslotted,
	    .finished = watched->records - watched->lost,
	    .dropped = folded->dropped + live->dropped + watched->unslotted + watched->lost,
	    .given_up = folded->given_up + live->given_up,
	    .unfinished = folded->unfinished,
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

static uint64_t less(uint64_t value, uint64_t part)
{
	return value > part ? value - part : 0;
}

static bool measures_alloc(const struct rqs_watched *watched)
{
	if (rqs_watched_is_go(watched))
		return (watched->measures & RQS_MEASURES_ALLOC) && watched->table.known;
	return watched->folded.alloc_count + watched->live.alloc_count > 0;
}

/* What no record carries is unattributed: so the parts always add up to the whole. */
static void add_allocs(cJSON *object, const struct rqs_watched *watched)
{
	uint64_t count = watched->folded.alloc_count + watched->live.alloc_count;
	uint64_t bytes = watched->folded.alloc_bytes + watched->live.alloc_bytes;
	bool measured = measures_alloc(watched);

	add_alloc(object, "process_alloc", measured, bytes, count);
	add_alloc(object, "unattributed", measured, less(bytes, watched->record_alloc_bytes),
		  less(count, watched->record_alloc_count));
	cJSON_AddNullToObject(object, "after_response");
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

static void add_note(cJSON *notes, const char *what, const char *why)
{
	cJSON *note = cJSON_CreateObject();

	cJSON_AddStringToObject(note, "what", what);
	cJSON_AddStringToObject(note, "why", why);
	cJSON_AddItemToArray(notes, note);
}

static void note_troubles(cJSON *notes, const struct rqs_troubles *troubles)
{
	char why[256];

	if (troubles->lost_processes) {
		snprintf(why, sizeof(why), "%" PRIu64 " processes found no slot and weren't recorded",
			 troubles->lost_processes);
		add_note(notes, "processes", why);
	}
	if (troubles->malformed_records || troubles->broken_chunks) {
		snprintf(why, sizeof(why), "the server wrote over %" PRIu64 " records and %" PRIu64 " buffers of ours",
			 troubles->malformed_records, troubles->broken_chunks);
		add_note(notes, "requests", why);
	}
	if (troubles->write_error) {
		snprintf(why, sizeof(why), "%" PRIu64 " requests couldn't be written to the trace: %s",
			 troubles->rows_lost, strerror(troubles->write_error));
		add_note(notes, "requests", why);
	}
}

static bool any_table_is_lost(const struct rqs_processes *processes)
{
	for (uint32_t i = 0; i < processes->noted_count; i++) {
		const struct rqs_watched *watched = processes->noted[i];

		if (rqs_watched_is_go(watched) && (watched->measures & RQS_MEASURES_ALLOC) && !watched->table.known)
			return true;
	}
	return false;
}

static bool any_go_lacks(const struct rqs_processes *processes, uint32_t measure)
{
	for (uint32_t i = 0; i < processes->noted_count; i++) {
		const struct rqs_watched *watched = processes->noted[i];

		if (rqs_watched_is_go(watched) && watched->records && !(watched->measures & measure))
			return true;
	}
	return false;
}

/* Which of the hooks couldn't be placed in a Go program, or weren't to be. */
static void note_go(cJSON *notes, const struct rqs_processes *processes)
{
	if (any_table_is_lost(processes))
		add_note(notes, "process_alloc, unattributed", "the table of a Go program's goroutines can't be read");
	if (any_go_lacks(processes, RQS_MEASURES_ALLOC))
		add_note(notes, "alloc_bytes, alloc_count",
			 "the Go program's allocator is inlined where it is called, or none that is known");
	else if (any_go_lacks(processes, RQS_MEASURES_CHILDREN))
		add_note(notes, "allocations of goroutines that a request starts",
			 "the Go program's way to start them is none that is known");
	if (any_go_lacks(processes, RQS_MEASURES_SCHED))
		add_note(notes, "cpu_time, sched_wait, children_cpu_time",
			 "switched off, or the Go program's scheduler is inlined or none that is known");
}

static void note_allocations(cJSON *notes, const struct rqs_processes *processes)
{
	uint64_t requests = 0, measured = 0;

	for (uint32_t i = 0; i < processes->noted_count; i++) {
		if (rqs_watched_is_go(processes->noted[i]))
			continue;
		requests += processes->noted[i]->records;
		measured += processes->noted[i]->with_alloc;
	}
	if (requests && !measured)
		add_note(notes, "alloc_bytes, alloc_count", "no thread was seen to serve one request at a time");
}

/* Counts that don't balance are a fault of ours, or of a server that writes where it shouldn't. */
static void note_imbalance(cJSON *notes, const struct rqs_processes *processes)
{
	for (uint32_t i = 0; i < processes->noted_count; i++) {
		const struct rqs_watched *watched = processes->noted[i];
		struct rqs_completeness c = rqs_completeness_of(watched);
		char why[128];

		if (c.started == c.finished + c.dropped + c.unfinished + c.given_up)
			continue;
		snprintf(why, sizeof(why), "the counts of process %d don't balance", (int)watched->pid);
		add_note(notes, "completeness", why);
	}
}

char *rqs_payload_totals(const struct rqs_processes *processes, const struct rqs_troubles *troubles, uint64_t now_ns,
			 const char *reason)
{
	cJSON *totals = cJSON_CreateObject();

	if (reason)
		cJSON_AddStringToObject(totals, "reason", reason);
	add_ns(totals, "end_monotonic_ns", now_ns);
	add_completeness(totals, rqs_completeness_sum(processes));
	add_number(totals, "unplaced", troubles->unplaced);
	cJSON *notes = cJSON_AddArrayToObject(totals, "notes");
	note_troubles(notes, troubles);
	if (reason) {
		note_allocations(notes, processes);
		note_go(notes, processes);
		note_imbalance(notes, processes);
	}
	cJSON *list = cJSON_AddArrayToObject(totals, "processes");
	for (uint32_t i = 0; i < processes->noted_count; i++)
		cJSON_AddItemToArray(list, make_process_totals(processes->noted[i]));
	return print_and_delete(totals);
}
