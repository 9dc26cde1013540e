/*
 * report_json.h - results as JSON: reqscope.report/1. SI units: seconds and
 * bytes. What isn't known is null. The trees are the caller's to delete.
 */
#ifndef REQSCOPE_REPORT_JSON_H
#define REQSCOPE_REPORT_JSON_H

#include "model/trace.h"

/* Traces that could not be read are left out. `sites`: call sites of each route; 0: none, and no key for them. */
cJSON *rqs_report_json(const struct rqs_traces *traces, unsigned sites);
/* file, label, command, runtime ...: what a trace says of itself. */
void rqs_json_add_metadata(cJSON *object, const struct rqs_trace *t);
/* The numbers of a trace or of a side of several runs. */
void rqs_json_add_result(cJSON *object, const struct rqs_result *r, const struct rqs_routes *routes);
/* A number, or null for NAN. */
void rqs_json_add_number(cJSON *object, const char *key, double v);
/* A string made valid UTF-8, or null for NULL. */
void rqs_json_add_text(cJSON *object, const char *key, const char *text);
/* That Go programs ran without hooks, to be freed. */
char *rqs_unplaced_text(uint64_t programs);
/* The rows of a result that have requests, by total time, descending. Ends with -1; to be freed. */
int *rqs_rows_by_time(const struct rqs_result *r);

#endif
