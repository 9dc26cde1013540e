/* compare_json.h - a comparison as JSON: reqscope.compare/1. */
#ifndef REQSCOPE_COMPARE_JSON_H
#define REQSCOPE_COMPARE_JSON_H

#include "report/sides.h"

cJSON *rqs_compare_json(const struct rqs_comparison *c);

#endif
