/* spark.h - a chart as lines of text, for terminals and markdown. */
#ifndef REQSCOPE_SPARK_H
#define REQSCOPE_SPARK_H

#include "render/chart.h"

/* Calls put for each line: a name, and what is to be seen beside it. The texts are valid during the call. */
void rqs_spark(const struct rqs_chart *c, void (*put)(void *context, const char *name, const char *text),
	       void *context);
/* A value with its unit, to be freed. */
char *rqs_axis_text(enum rqs_axis_unit unit, double value);

#endif
