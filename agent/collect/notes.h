/* notes.h - what a trace's reader should know of: what wasn't measured or seen, and why. */
#ifndef COLLECT_NOTES_H
#define COLLECT_NOTES_H

#include "collect/frame_json.h"

#include <cjson/cJSON.h>

/* Adds {what, why} objects to the array; at the end also those that only the whole recording tells. */
void rqs_add_notes(cJSON *notes, const struct rqs_processes *processes, const struct rqs_troubles *troubles, bool end);

#endif
