/* metrics.c - the list of metrics as a table. */
#include "model/metrics.h"

const struct rqs_metric_info rqs_metrics[RQS_METRIC_COUNT] = {
#define METRIC(symbol, name, column, unit) {#name, column, RQS_UNIT_##unit},
    RQS_METRICS(METRIC)
#undef METRIC
};
