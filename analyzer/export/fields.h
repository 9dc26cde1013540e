/*
 * fields.h - a request as a row of a table: the columns of Parquet and CSV,
 * and their values.
 *
 * RQS_NULL is what isn't known. Texts are numbers of an entry in a table that
 * all text columns share; each text is in it once.
 */
#ifndef REQSCOPE_FIELDS_H
#define REQSCOPE_FIELDS_H

#include "export/exporter.h"

#define RQS_REQUESTS_SCHEMA "reqscope.requests/2"

enum rqs_field_type {
	RQS_FIELD_TEXT,
	RQS_FIELD_NUMBER, /* below 2^63 */
	RQS_FIELD_MOMENT, /* ns since the epoch */
	RQS_FIELD_FLAG,
};

/* X(symbol, name, type, nullable): what a row has besides its metrics. */
#define RQS_FIELDS(X)                                                                                                  \
	X(TRACE, trace, TEXT, 0)                                                                                       \
	X(LABEL, label, TEXT, 1)                                                                                       \
	X(HOST, host, TEXT, 1)                                                                                         \
	X(PID, pid, NUMBER, 1)                                                                                         \
	X(RUNTIME, runtime, TEXT, 1)                                                                                   \
	X(TIME, time, MOMENT, 1)                                                                                       \
	X(METHOD, method, TEXT, 0)                                                                                     \
	X(ROUTE, route, TEXT, 0)                                                                                       \
	X(STATUS, status, NUMBER, 1)                                                                                   \
	X(ABORTED, aborted, FLAG, 0)                                                                                   \
	X(LATENCY_FROM, latency_from, TEXT, 1)

enum rqs_field_id {
#define RQS_FIELD_ID(symbol, name, type, nullable) RQS_FIELD_##symbol##_ID,
	RQS_FIELDS(RQS_FIELD_ID)
#undef RQS_FIELD_ID
	    RQS_FIELD_METRICS, /* the first metric; the others follow in their order */
	RQS_FIELD_COUNT = RQS_FIELD_METRICS + RQS_METRIC_COUNT,
};

struct rqs_field {
	const char *name; /* with the unit: latency_ns */
	enum rqs_field_type type;
	bool nullable;
};

extern const struct rqs_field rqs_fields[RQS_FIELD_COUNT];

struct rqs_field_reader;

struct rqs_field_reader *rqs_field_reader_new(const struct rqs_export *what);
void rqs_field_reader_free(struct rqs_field_reader *r);
/* The values of one column, chosen->count of them. Of one block all columns are to be read before the next block. */
void rqs_field_values(struct rqs_field_reader *r, const struct rqs_chosen *chosen, unsigned field, uint64_t *to);
/* The texts so far, valid UTF-8; their number grows, they stay. */
unsigned rqs_field_texts(const struct rqs_field_reader *r);
const char *rqs_field_text(const struct rqs_field_reader *r, uint64_t text);

#endif
