/* notes.c - reasons, a runtime at a time. */
#include "collect/notes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
	if (troubles->site_rows_lost) {
		snprintf(why, sizeof(why), "%" PRIu64 " rows couldn't be written to the trace: %s",
			 troubles->site_rows_lost, strerror(troubles->write_error));
		add_note(notes, "sites", why);
	}
}

static void note_count(cJSON *notes, const char *what, uint64_t count, const char *why)
{
	char text[256];

	if (!count)
		return;
	snprintf(text, sizeof(text), "%" PRIu64 " %s", count, why);
	add_note(notes, what, text);
}

/* Sampled allocations: each of these makes figures by site too low, or leaves part of them without a name. */
static void note_sites(cJSON *notes, const struct rqs_processes *processes, const struct rqs_site_troubles *troubles)
{
	uint64_t lost = 0, unfollowed = 0, frameless = 0;
	char text[128];

	for (uint32_t i = 0; i < processes->noted_count; i++) {
		lost += processes->noted[i]->events[RQS_EVENT_SAMPLE_LOST];
		unfollowed += processes->noted[i]->events[RQS_EVENT_SAMPLE_UNFOLLOWED];
		frameless += processes->noted[i]->events[RQS_EVENT_FRAMES_UNKNOWN];
	}
	note_count(notes, "sites", lost, "sampled allocations found no room: figures by site are too low");
	note_count(notes, "sites", unfollowed, "sampled allocations aren't followed to their end");
	note_count(notes, "stacks", frameless,
		   "sampled allocations are without Python's functions: this interpreter keeps its frames otherwise "
		   "than its version does");
	note_count(notes, "sites", troubles->unkept,
		   "events of sampled allocations weren't kept: too many, before their process served");
	note_count(notes, "sites", troubles->unwaited,
		   "sampled allocations are unattributed: too many waited for the ends of their requests");
	note_count(notes, "stacks", troubles->no_stack, "sampled allocations have no stack that is known");
	note_count(notes, "stacks", troubles->beyond,
		   "sampled allocations have \"(too many stacks)\" in place of their stack");
	for (unsigned i = 0; i < RQS_SITE_REASONS && troubles->reasons[i].samples; i++) {
		snprintf(text, sizeof(text), "of %" PRIu64 " sampled allocations' stacks end early: %s",
			 troubles->samples, troubles->reasons[i].why);
		note_count(notes, "stacks", troubles->reasons[i].samples, text);
	}
}

/* Of these nothing is known but that they were answered. */
static void note_preceding(cJSON *notes, const struct rqs_processes *processes)
{
	uint64_t count = 0;
	char why[128];

	for (uint32_t i = 0; i < processes->noted_count; i++)
		count += processes->noted[i]->preceding;
	if (!count)
		return;
	snprintf(why, sizeof(why), "%" PRIu64 " of the unfinished began before the recording, and were answered in it",
		 count);
	add_note(notes, "requests", why);
}

static void note_attached(cJSON *notes, const struct rqs_attached *attached)
{
	if (attached->pid)
		add_note(notes, "start-up",
			 "the recording began by attaching to a process that ran: its start, the requests before and "
			 "what they allocated aren't in it");
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

/* What is known of the processes of one runtime that served requests. */
struct served {
	uint64_t requests;
	uint64_t with_alloc;
	uint16_t flags;    /* RQS_RECORD_* that any record has */
	uint32_t measures; /* RQS_MEASURES_* that all have */
	bool heap_in_use;  /* any has told it */
	bool exchanged;    /* any's allocators were */
};

static struct served served_by(const struct rqs_processes *processes, enum rqs_runtime runtime)
{
	struct served served = {.measures = UINT32_MAX};

	for (uint32_t i = 0; i < processes->noted_count; i++) {
		const struct rqs_watched *watched = processes->noted[i];

		if (watched->runtime != runtime || !watched->records)
			continue;
		served.requests += watched->records;
		served.with_alloc += watched->with_alloc;
		served.flags |= watched->record_flags;
		served.measures &= watched->measures;
		served.heap_in_use |= watched->heap_in_use != 0;
		served.exchanged |= watched->exchanged;
	}
	return served;
}

static void note_native(cJSON *notes, const struct rqs_processes *processes)
{
	struct served served = served_by(processes, RQS_RUNTIME_NATIVE);

	if (served.requests && !served.with_alloc)
		add_note(notes, "alloc_bytes, alloc_count", "no thread was seen to serve one request at a time");
}

static void note_node(cJSON *notes, const struct rqs_processes *processes)
{
	struct served served = served_by(processes, RQS_RUNTIME_NODE);

	if (!served.requests)
		return;
	if (!served.with_alloc)
		add_note(notes, "alloc_bytes, alloc_count", "V8 has a heap of its own, and requests share its thread");
	if (!served.heap_in_use)
		add_note(notes, "runtime_stats",
			 "this Node doesn't tell the figures of V8's heap, or tells none that make sense");
}

/* An event loop is nothing that every server has: loop_delay needs no reason. */
static void note_python(cJSON *notes, const struct rqs_processes *processes)
{
	struct served served = served_by(processes, RQS_RUNTIME_PYTHON);

	if (!served.requests)
		return;
	if (!(served.measures & RQS_MEASURES_ALLOC)) {
		add_note(notes,
			 "alloc_bytes, alloc_count, recv_buffer_bytes, peak_bytes, cpu_time, gil_wait, "
			 "process_alloc, unattributed, after_response",
			 "this Python's allocators couldn't be hooked");
		return;
	}
	add_note(notes, "peak_bytes", "frees are left alone, so that they cost nothing");
	if (served.exchanged)
		add_note(notes, "process_alloc, unattributed, after_response",
			 "Python's allocators were exchanged, as tracemalloc does, and ours may not be called since");
	if (!served.with_alloc)
		add_note(notes, "alloc_bytes, alloc_count, cpu_time, gil_wait",
			 "the server's way from a request to its handler is unknown");
	else if (!(served.flags & RQS_RECORD_HAS_GIL))
		add_note(notes, "gil_wait", "this Python has no global lock, or none that is known");
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

/* Each part is of counters of its own, which a server may have written over. */
static void note_contradiction(cJSON *notes, const struct rqs_processes *processes)
{
	unsigned count = 0;
	char why[128];

	for (uint32_t i = 0; i < processes->noted_count; i++) {
		struct rqs_alloc_sums s = rqs_alloc_sums_of(processes->noted[i]);

		count += s.measured && (s.bytes.whole < s.bytes.requests + s.bytes.after ||
					s.count.whole < s.count.requests + s.count.after);
	}
	if (!count)
		return;
	snprintf(why, sizeof(why), "%u process%s counted less in all than for requests and after them", count,
		 count == 1 ? "" : "es");
	add_note(notes, "unattributed", why);
}

void rqs_add_notes(cJSON *notes, const struct rqs_processes *processes, const struct rqs_troubles *troubles, bool end)
{
	note_troubles(notes, troubles);
	if (!end)
		return;
	note_native(notes, processes);
	note_node(notes, processes);
	note_python(notes, processes);
	note_go(notes, processes);
	note_attached(notes, &troubles->attached);
	note_preceding(notes, processes);
	note_imbalance(notes, processes);
	note_contradiction(notes, processes);
	note_sites(notes, processes, &troubles->sites);
}
