/*
 * exporter.h - the forms in which other programs get a trace's requests or
 * call sites. One more is one file and one line in RQS_EXPORTER_LIST.
 *
 * An exporter sees the chosen requests block by block while the traces are
 * loaded, and the loaded traces at the end. Its memory must not grow with
 * their number.
 */
#ifndef REQSCOPE_EXPORTER_H
#define REQSCOPE_EXPORTER_H

#include "model/trace.h"

#include <stdio.h>

/* What is exported: the same for all blocks. */
struct rqs_export {
	const struct rqs_traces *traces;
	FILE *out;
	const char *route; /* "GET /x": no others; NULL: all */
};

/* A block's requests inside the window and of the wanted route. */
struct rqs_chosen {
	const struct rqs_request_rows *rows;
	uint32_t count;
	uint16_t index[RQS_BLOCK_ROWS]; /* in the block */
};

struct rqs_exporter {
	const char *name;
	bool binary;      /* nothing for a terminal */
	bool needs_sites; /* of traces that have sampled allocations */
	/* Writes nothing yet: maybe no trace can be read. The result is what the others get. */
	void *(*start)(const struct rqs_export *what);
	void (*take)(void *state, const struct rqs_chosen *chosen); /* or NULL */
	void (*finish)(void *state);                                /* all is loaded; writes what is left */
	void (*free)(void *state);
};

/* X(symbol), in the order that messages name them. */
#define RQS_EXPORTER_LIST(X) X(parquet) X(csv) X(hgrm) X(openmetrics) X(otlp) X(pprof) X(collapsed) X(speedscope)

#define RQS_DECLARE_EXPORTER(symbol) extern const struct rqs_exporter rqs_exporter_##symbol;
RQS_EXPORTER_LIST(RQS_DECLARE_EXPORTER)
#undef RQS_DECLARE_EXPORTER

/* NULL when there is none of the name. */
const struct rqs_exporter *rqs_exporter_find(const char *name);
/* "parquet, csv, ..." */
const char *rqs_exporter_names(void);

/* Whether a row of the routes is asked for. */
bool rqs_export_has_route(const struct rqs_export *what, unsigned row);

#endif
