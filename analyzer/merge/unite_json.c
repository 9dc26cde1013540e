/* unite_json.c - sums where there are sums, agreement where there is agreement, otherwise a list. */
#include "merge/unite_json.h"
#include "base/alloc.h"
#include "collect/totals_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_ns(cJSON *object, const char *key, uint64_t ns)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, ns);
	cJSON_DeleteItemFromObjectCaseSensitive(object, key);
	cJSON_AddStringToObject(object, key, text);
}

static const cJSON *get(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* ---- run ---- */

struct origin {
	cJSON *run;
	char *text;
	uint64_t start;
};

static int by_start(const void *a, const void *b)
{
	const struct origin *x = a, *y = b;

	return x->start != y->start ? (x->start < y->start ? -1 : 1) : strcmp(x->text, y->text);
}

struct origins {
	unsigned count;
	struct origin *origin;
};

static void add_origin(struct origins *o, const cJSON *run)
{
	struct origin one = {.run = cJSON_Duplicate(run, true), .start = rqs_json_u64(run, "start_realtime_ns")};

	cJSON_DeleteItemFromObjectCaseSensitive(one.run, "schema");
	one.text = cJSON_PrintUnformatted(one.run);
	if (!one.text)
		one.text = rqs_format("%s", "");
	o->origin = rqs_grow(o->origin, o->count + 1, sizeof(*o->origin));
	o->origin[o->count++] = one;
}

/* Of an input that was itself united, what that was made of. */
static struct origins find_origins(const struct rqs_inputs *inputs)
{
	struct origins o = {0};

	for (unsigned i = 0; i < inputs->count; i++) {
		const cJSON *from = get(inputs->input[i].run, "merged_from"), *run;

		if (!cJSON_IsArray(from))
			add_origin(&o, inputs->input[i].run);
		else
			cJSON_ArrayForEach(run, from) add_origin(&o, run);
	}
	qsort(o.origin, o.count, sizeof(*o.origin), by_start);
	return o;
}

static char *find_twice(const struct origins *o)
{
	for (unsigned i = 1; i < o->count; i++)
		if (!strcmp(o->origin[i].text, o->origin[i - 1].text))
			return rqs_format(
			    "the same recording is in these files twice, and its requests would count twice: "
			    "%.300s",
			    o->origin[i].text);
	return NULL;
}

/* What all say, or null. */
static void add_agreed(cJSON *to, const struct origins *o, const char *key)
{
	const cJSON *first = get(o->origin[0].run, key);
	bool same = first != NULL;

	for (unsigned i = 1; i < o->count && same; i++)
		same = cJSON_Compare(first, get(o->origin[i].run, key), true);
	cJSON_AddItemToObject(to, key, same ? cJSON_Duplicate(first, true) : cJSON_CreateNull());
}

/* The same for each member of an object; null where none agrees. */
static void add_agreed_members(cJSON *to, const struct origins *o, const char *key)
{
	const cJSON *first = get(o->origin[0].run, key), *members = cJSON_IsObject(first) ? first : NULL, *member;
	cJSON *all = cJSON_CreateObject();
	bool any = false;

	cJSON_ArrayForEach(member, members)
	{
		bool same = true;

		for (unsigned i = 1; i < o->count && same; i++)
			same = cJSON_Compare(member, get(get(o->origin[i].run, key), member->string), true);
		cJSON_AddItemToObject(all, member->string, same ? cJSON_Duplicate(member, true) : cJSON_CreateNull());
		any |= same;
	}
	if (!any) {
		cJSON_Delete(all);
		all = cJSON_CreateNull();
	}
	cJSON_AddItemToObject(to, key, all);
}

static cJSON *make_run(const struct rqs_inputs *inputs, struct origins *o)
{
	cJSON *run = cJSON_CreateObject();
	uint64_t start = UINT64_MAX;

	for (unsigned i = 0; i < inputs->count; i++)
		start = inputs->input[i].start < start ? inputs->input[i].start : start;
	cJSON_AddStringToObject(run, "schema", "reqscope.run/1");
	add_agreed(run, o, "agent_version");
	cJSON_AddStringToObject(run, "mode", "merge");
	add_agreed(run, o, "label");
	add_agreed(run, o, "command");
	add_ns(run, "start_monotonic_ns", start);
	add_ns(run, "start_realtime_ns", start);
	add_agreed(run, o, "clock");
	add_agreed_members(run, o, "host");
	add_agreed(run, o, "options");
	cJSON *from = cJSON_AddArrayToObject(run, "merged_from");
	for (unsigned i = 0; i < o->count; i++) {
		cJSON_AddItemToArray(from, o->origin[i].run);
		o->origin[i].run = NULL;
	}
	return run;
}

cJSON *rqs_unite_runs(const struct rqs_inputs *inputs, char **problem)
{
	struct origins o = find_origins(inputs);

	*problem = o.count ? find_twice(&o) : rqs_format("%s", "the traces' run frames tell of no recording");
	cJSON *run = *problem ? NULL : make_run(inputs, &o);
	for (unsigned i = 0; i < o.count; i++) {
		cJSON_Delete(o.origin[i].run);
		free(o.origin[i].text);
	}
	free(o.origin);
	return run;
}

/* ---- processes ---- */

static void renumber(struct rqs_inputs *inputs, struct rqs_input *in, cJSON *object)
{
	uint32_t process = rqs_inputs_process(inputs, in, rqs_json_u64(object, "process"));

	cJSON_ReplaceItemInObjectCaseSensitive(object, "process", cJSON_CreateNumber(process));
}

static bool has_number(const cJSON *object)
{
	return cJSON_IsNumber(get(object, "process")) && rqs_json_u64(object, "process") < RQS_PROCESSES_MAX;
}

static void add_text(cJSON *object, const char *key, const char *text)
{
	cJSON_DeleteItemFromObjectCaseSensitive(object, key);
	cJSON_AddItemToObject(object, key, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

/* Where the process was recorded: in the united trace the run frame can't tell. */
static void add_origin_of(cJSON *process, const cJSON *run)
{
	if (cJSON_IsArray(get(run, "merged_from")))
		return;
	add_text(process, "host", rqs_json_string(get(run, "host"), "name"));
	add_text(process, "label", rqs_json_string(run, "label"));
}

bool rqs_unite_process(struct rqs_inputs *inputs, struct rqs_input *in, cJSON *process)
{
	uint64_t start = rqs_json_u64(process, "start_monotonic_ns");

	if (!has_number(process))
		return false;
	renumber(inputs, in, process);
	if (start && start < RQS_TIME_LIMIT / 2)
		add_ns(process, "start_monotonic_ns", start + in->shift);
	add_origin_of(process, in->run);
	return true;
}

/* ---- totals ---- */

static void add_to(cJSON *sum, const cJSON *object, const char *key)
{
	cJSON *item = cJSON_GetObjectItemCaseSensitive(sum, key);
	double value = (double)rqs_json_u64(object, key);

	if (item)
		cJSON_SetNumberValue(item, item->valuedouble + value);
	else
		cJSON_AddNumberToObject(sum, key, value);
}

/* Of an object of numbers the sums; known of all where it is known of each. */
static void add_sums(cJSON *totals, const struct rqs_inputs *inputs, const char *key, const char *const *names)
{
	cJSON *sum = cJSON_CreateObject();
	bool known = true;

	for (unsigned i = 0; i < inputs->count; i++) {
		const cJSON *of = get(inputs->input[i].totals, key);

		known &= cJSON_IsObject(of);
		for (const char *const *name = names; *name; name++)
			add_to(sum, of, *name);
	}
	if (known)
		cJSON_AddItemToObject(totals, key, sum);
	else
		cJSON_Delete(sum);
}

static void add_completeness(cJSON *totals, const struct rqs_inputs *inputs)
{
#define NAME(name) #name,
	static const char *const names[] = {RQS_COMPLETENESS(NAME) NULL};
#undef NAME

	add_sums(totals, inputs, "completeness", names);
}

/* Hosts' peaks may have been at different times: all that is known is that there were no more. */
static void add_connections(cJSON *totals, const struct rqs_inputs *inputs)
{
	static const char *const names[] = {"peak", NULL};

	add_sums(totals, inputs, "connections", names);
}

static bool has_note(const cJSON *notes, const cJSON *note)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, notes) if (cJSON_Compare(one, note, true)) return true;
	return false;
}

static void add_note(cJSON *notes, const char *what, const char *why)
{
	cJSON *note = cJSON_CreateObject();

	cJSON_AddStringToObject(note, "what", what);
	cJSON_AddStringToObject(note, "why", why);
	cJSON_AddItemToArray(notes, note);
}

static void add_notes(cJSON *totals, const struct rqs_inputs *inputs)
{
	cJSON *notes = cJSON_AddArrayToObject(totals, "notes");
	const cJSON *note;
	unsigned partial = 0;

	for (unsigned i = 0; i < inputs->count; i++) {
		partial += !rqs_input_is_whole(&inputs->input[i]);
		cJSON_ArrayForEach(note, get(inputs->input[i].totals, "notes")) if (cJSON_IsObject(note) &&
										    !has_note(notes, note))
		    cJSON_AddItemToArray(notes, cJSON_Duplicate(note, true));
	}
	if (partial)
		add_note(notes, "the whole of each trace", "a trace among those merged was cut off or damaged");
}

static void add_processes(cJSON *totals, struct rqs_inputs *inputs)
{
	struct rqs_totals_list list = {.list = cJSON_AddArrayToObject(totals, "processes")};
	const cJSON *process;

	for (unsigned i = 0; i < inputs->count; i++) {
		cJSON_ArrayForEach(process, get(inputs->input[i].totals, "processes"))
		{
			bool numbered = has_number(process);

			/* One without a number is a sum already. */
			if (!numbered && (!cJSON_IsObject(process) || get(process, "process")))
				continue;
			cJSON *copy = cJSON_Duplicate(process, true);
			if (numbered)
				renumber(inputs, &inputs->input[i], copy);
			rqs_totals_list_add(&list, copy);
		}
	}
}

static void add_reason(cJSON *totals, const struct rqs_inputs *inputs)
{
	const char *first = rqs_json_string(inputs->input[0].totals, "reason");

	for (unsigned i = 1; i < inputs->count && first; i++) {
		const char *reason = rqs_json_string(inputs->input[i].totals, "reason");

		if (!reason || strcmp(reason, first))
			first = NULL;
	}
	cJSON_AddStringToObject(totals, "reason", first ? first : "merged");
}

cJSON *rqs_unite_totals(struct rqs_inputs *inputs, bool whole, uint64_t *end_time)
{
	cJSON *totals = cJSON_CreateObject();
	bool any = false;

	*end_time = 0;
	for (unsigned i = 0; i < inputs->count; i++) {
		const struct rqs_input *in = &inputs->input[i];
		uint64_t end = rqs_json_u64(in->totals, "end_monotonic_ns");

		if (!in->totals)
			continue;
		any = true;
		add_to(totals, in->totals, "unplaced");
		if (end < RQS_TIME_LIMIT / 2 && end + in->shift > *end_time && end + in->shift < RQS_TIME_LIMIT)
			*end_time = end + in->shift;
	}
	if (!any) {
		cJSON_Delete(totals);
		return NULL;
	}
	if (whole)
		add_reason(totals, inputs);
	add_ns(totals, "end_monotonic_ns", *end_time);
	add_completeness(totals, inputs);
	add_connections(totals, inputs);
	add_notes(totals, inputs);
	add_processes(totals, inputs);
	return totals;
}
