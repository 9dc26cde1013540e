/* compare_json.h - a comparison as JSON: reqscope.compare/1. */
#ifndef REQSCOPE_COMPARE_JSON_H
#define REQSCOPE_COMPARE_JSON_H

#include "report/findings.h"

#include <cjson/cJSON.h>

cJSON *rqs_compare_json(const struct rqs_findings *findings);

/* ---- parts of it ---- */

/* What is known of a difference. A ratio's numbers are those of new / base - 1, as in "relative". */
cJSON *rqs_json_difference(const struct rqs_difference *d);
/* The sites, where they were asked for. */
cJSON *rqs_compare_sites_json(const struct rqs_findings *findings);

#endif
