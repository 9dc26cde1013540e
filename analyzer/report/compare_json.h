/* compare_json.h - a comparison as JSON: reqscope.compare/1. */
#ifndef REQSCOPE_COMPARE_JSON_H
#define REQSCOPE_COMPARE_JSON_H

#include "report/findings.h"

#include <cjson/cJSON.h>

cJSON *rqs_compare_json(const struct rqs_findings *findings);

#endif
