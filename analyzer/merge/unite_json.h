/* unite_json.h - the run, process, totals and end frames of a united trace. */
#ifndef REQSCOPE_UNITE_JSON_H
#define REQSCOPE_UNITE_JSON_H

#include "merge/inputs.h"

/*
 * The run frame's object. What all runs agree on is said; of what they don't,
 * `merged_from` has each one's. NULL, and *problem to be freed, when the same
 * recording is in it twice.
 */
cJSON *rqs_unite_runs(const struct rqs_inputs *inputs, char **problem);
/* Changes a process frame's object into that of the united trace; false when it is unusable. */
bool rqs_unite_process(struct rqs_inputs *inputs, struct rqs_input *in, cJSON *process);
/* The sums of all totals. NULL when no trace has any. *end_time: the latest, on the common clock. */
cJSON *rqs_unite_totals(struct rqs_inputs *inputs, bool whole, uint64_t *end_time);

#endif
