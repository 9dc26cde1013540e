/* trace.c - a trace's metadata. */
#include "model/trace.h"

#include <stdlib.h>
#include <string.h>

const char *rqs_json_string(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsString(item) ? item->valuestring : NULL;
}

uint64_t rqs_json_u64(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (cJSON_IsString(item))
		return strtoull(item->valuestring, NULL, 10);
	if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 0x1p63)
		return (uint64_t)item->valuedouble;
	return 0;
}

const struct rqs_process *rqs_trace_main_process(const struct rqs_trace *t)
{
	const struct rqs_process *best = NULL;

	for (unsigned i = 0; i < t->processes; i++)
		if (t->process[i].present && (!best || t->process[i].requests > best->requests))
			best = &t->process[i];
	return best;
}

bool rqs_trace_is_attached(const struct rqs_trace *t)
{
	const char *mode = rqs_json_string(t->run, "mode");

	return mode && !strcmp(mode, "attach");
}

const cJSON *rqs_trace_attach(const struct rqs_trace *t)
{
	const cJSON *attach = cJSON_GetObjectItemCaseSensitive(t->totals, "attach");

	return rqs_trace_is_attached(t) && cJSON_IsObject(attach) ? attach : NULL;
}

const char *rqs_trace_label(const struct rqs_trace *t)
{
	return t->run ? rqs_json_string(t->run, "label") : NULL;
}

const char *rqs_trace_host(const struct rqs_trace *t)
{
	return rqs_json_string(cJSON_GetObjectItemCaseSensitive(t->run, "host"), "name");
}

static void free_trace(struct rqs_trace *t)
{
	for (unsigned i = 0; i < t->processes; i++) {
		free(t->process[i].runtime);
		free(t->process[i].runtime_version);
		free(t->process[i].host);
		free(t->process[i].label);
	}
	free(t->process);
	free(t->fatal);
	cJSON_Delete(t->run);
	cJSON_Delete(t->totals);
	rqs_result_free(&t->result);
}

void rqs_traces_free(struct rqs_traces *traces)
{
	for (unsigned i = 0; i < traces->count; i++)
		free_trace(&traces->trace[i]);
	free(traces->trace);
	rqs_routes_free(traces->routes);
	*traces = (struct rqs_traces){0};
}
