/*
 * formats.h - the forms in which a report is written. One more is one file
 * and one line in RQS_FORMAT_LIST.
 */
#ifndef REQSCOPE_FORMATS_H
#define REQSCOPE_FORMATS_H

#include "render/doc.h"

#include <cjson/cJSON.h>
#include <stdio.h>

/* What is written: of its two shapes those that the format asks for, the other may be NULL. */
struct rqs_rendering {
	const struct rqs_doc *doc;
	const cJSON *json;
	bool color;     /* for a terminal */
	unsigned width; /* its columns; 0 where there is none */
};

struct rqs_format {
	const char *name;
	bool document, data; /* what it needs: the doc, the JSON */
	bool gates;          /* shows gates alone, which only comparisons have */
	void (*render)(FILE *out, const struct rqs_rendering *what);
};

/* X(symbol), in the order that messages name them. */
#define RQS_FORMAT_LIST(X) X(text) X(json) X(md) X(html) X(junit) X(github)

#define RQS_DECLARE_FORMAT(symbol) extern const struct rqs_format rqs_format_##symbol;
RQS_FORMAT_LIST(RQS_DECLARE_FORMAT)
#undef RQS_DECLARE_FORMAT

/* NULL when there is none of the name. */
const struct rqs_format *rqs_format_find(const char *name);
/* "text, json, ..." */
const char *rqs_format_names(void);

#endif
