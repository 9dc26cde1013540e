/*
 * doc.h - a report as a small document of lines and tables, which the text,
 * markdown and HTML renderers show each in its own way.
 *
 * Texts may come from a trace and hold any bytes: escaping is the renderers'
 * task, and theirs alone.
 */
#ifndef REQSCOPE_DOC_H
#define REQSCOPE_DOC_H

#include "render/chart.h"
#include "render/flame.h"

#include <stdbool.h>
#include <stddef.h>

enum rqs_tone {
	RQS_TONE_PLAIN,
	RQS_TONE_STRONG,
	RQS_TONE_DIM,
	RQS_TONE_GOOD,
	RQS_TONE_BAD,
};

enum rqs_item_kind {
	RQS_ITEM_HEADING,
	RQS_ITEM_TEXT,
	RQS_ITEM_WARNING,
	RQS_ITEM_FACT, /* key and value; adjoining facts are aligned */
	RQS_ITEM_TABLE,
	RQS_ITEM_CHART,
	RQS_ITEM_FLAME,
};

struct rqs_table_cell {
	char *text;
	enum rqs_tone tone;
	double key; /* what a reader may sort by, or NAN: by the text */
};

struct rqs_table {
	unsigned columns, rows, allocated;
	bool *right; /* by column: numbers are aligned on the right */
	bool *group; /* by row: a group of rows begins here */
	struct rqs_table_cell *head;
	struct rqs_table_cell *cell; /* rows * columns */
	unsigned filled;             /* cells of the last row */
	bool sortable;               /* long ones: where it can be had, readers sort and filter it */
};

struct rqs_item {
	enum rqs_item_kind kind;
	enum rqs_tone tone;
	char *key, *text;
	struct rqs_table *table;
	struct rqs_chart *chart;
	struct rqs_flame *flame;
};

struct rqs_doc {
	char *title;
	unsigned items;
	struct rqs_item *item;
};

struct rqs_doc *rqs_doc_new(const char *title);
void rqs_doc_free(struct rqs_doc *d);

void rqs_doc_heading(struct rqs_doc *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void rqs_doc_text(struct rqs_doc *d, enum rqs_tone tone, const char *format, ...) __attribute__((format(printf, 3, 4)));
void rqs_doc_warning(struct rqs_doc *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void rqs_doc_fact(struct rqs_doc *d, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Takes over the chart. */
void rqs_doc_chart(struct rqs_doc *d, struct rqs_chart *chart);
/* Takes over the flame graph. */
void rqs_doc_flame(struct rqs_doc *d, struct rqs_flame *flame);
/* A table is filled cell by cell: first all columns, then the rows. A row that isn't filled up is empty at its end. */
struct rqs_table *rqs_doc_table(struct rqs_doc *d);
void rqs_table_column(struct rqs_table *t, bool right, const char *head);
void rqs_table_row(struct rqs_table *t, bool group);
/* Takes over the text, which was allocated; NULL is empty. */
void rqs_table_cell(struct rqs_table *t, enum rqs_tone tone, char *text);
/* Of the last cell. Makes the table sortable. */
void rqs_table_sort_key(struct rqs_table *t, double key);
/* Whether its rows are in groups: more than one begins. */
bool rqs_table_has_groups(const struct rqs_table *t);
void rqs_table_format(struct rqs_table *t, enum rqs_tone tone, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
