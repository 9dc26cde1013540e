/* doc.c - building documents. */
#include "render/doc.h"
#include "base/alloc.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *text)
{
	return rqs_strndup(text, strlen(text));
}

static char *vformat(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		text = rqs_format("?");
	return text;
}

struct rqs_doc *rqs_doc_new(const char *title)
{
	struct rqs_doc *d = rqs_zalloc(1, sizeof(*d));

	d->title = copy(title);
	return d;
}

static struct rqs_item *add(struct rqs_doc *d, enum rqs_item_kind kind)
{
	d->item = rqs_grow(d->item, d->items + 1, sizeof(*d->item));
	memset(&d->item[d->items], 0, sizeof(*d->item));
	d->item[d->items].kind = kind;
	return &d->item[d->items++];
}

#define FORMAT_INTO(target)                                                                                            \
	do {                                                                                                           \
		va_list args_;                                                                                         \
		va_start(args_, format);                                                                               \
		(target) = vformat(format, args_);                                                                     \
		va_end(args_);                                                                                         \
	} while (0)

void rqs_doc_heading(struct rqs_doc *d, const char *format, ...)
{
	struct rqs_item *item = add(d, RQS_ITEM_HEADING);

	FORMAT_INTO(item->text);
}

void rqs_doc_text(struct rqs_doc *d, enum rqs_tone tone, const char *format, ...)
{
	struct rqs_item *item = add(d, RQS_ITEM_TEXT);

	item->tone = tone;
	FORMAT_INTO(item->text);
}

void rqs_doc_warning(struct rqs_doc *d, const char *format, ...)
{
	struct rqs_item *item = add(d, RQS_ITEM_WARNING);

	FORMAT_INTO(item->text);
}

void rqs_doc_fact(struct rqs_doc *d, const char *key, const char *format, ...)
{
	struct rqs_item *item = add(d, RQS_ITEM_FACT);

	item->key = copy(key);
	FORMAT_INTO(item->text);
}

void rqs_doc_chart(struct rqs_doc *d, struct rqs_chart *chart)
{
	add(d, RQS_ITEM_CHART)->chart = chart;
}

void rqs_doc_flame(struct rqs_doc *d, struct rqs_flame *flame)
{
	add(d, RQS_ITEM_FLAME)->flame = flame;
}

struct rqs_table *rqs_doc_table(struct rqs_doc *d)
{
	struct rqs_item *item = add(d, RQS_ITEM_TABLE);

	item->table = rqs_zalloc(1, sizeof(*item->table));
	return item->table;
}

void rqs_table_column(struct rqs_table *t, bool right, const char *head)
{
	t->head = rqs_grow(t->head, t->columns + 1, sizeof(*t->head));
	t->right = rqs_grow(t->right, t->columns + 1, sizeof(*t->right));
	t->head[t->columns] = (struct rqs_table_cell){copy(head), RQS_TONE_STRONG, NAN};
	t->right[t->columns++] = right;
	t->filled = t->columns;
}

void rqs_table_row(struct rqs_table *t, bool group)
{
	if (t->rows == t->allocated) {
		t->allocated = t->allocated ? t->allocated * 2 : 16;
		t->cell = rqs_grow(t->cell, (size_t)t->allocated * t->columns, sizeof(*t->cell));
		t->group = rqs_grow(t->group, t->allocated, sizeof(*t->group));
	}
	memset(&t->cell[(size_t)t->rows * t->columns], 0, t->columns * sizeof(*t->cell));
	t->group[t->rows++] = group;
	t->filled = 0;
}

void rqs_table_cell(struct rqs_table *t, enum rqs_tone tone, char *text)
{
	if (!t->rows || t->filled == t->columns) {
		free(text);
		return;
	}
	t->cell[(size_t)(t->rows - 1) * t->columns + t->filled++] = (struct rqs_table_cell){text, tone, NAN};
}

void rqs_table_sort_key(struct rqs_table *t, double key)
{
	t->sortable = true;
	if (t->rows && t->filled)
		t->cell[(size_t)(t->rows - 1) * t->columns + t->filled - 1].key = key;
}

bool rqs_table_has_groups(const struct rqs_table *t)
{
	for (unsigned r = 1; r < t->rows; r++)
		if (t->group[r])
			return true;
	return false;
}

void rqs_table_format(struct rqs_table *t, enum rqs_tone tone, const char *format, ...)
{
	char *text;

	FORMAT_INTO(text);
	rqs_table_cell(t, tone, text);
}

static void free_table(struct rqs_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < (size_t)t->rows * t->columns; i++)
		free(t->cell[i].text);
	for (unsigned i = 0; i < t->columns; i++)
		free(t->head[i].text);
	free(t->head);
	free(t->cell);
	free(t->right);
	free(t->group);
	free(t);
}

void rqs_doc_free(struct rqs_doc *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < d->items; i++) {
		free(d->item[i].key);
		free(d->item[i].text);
		free_table(d->item[i].table);
		rqs_chart_free(d->item[i].chart);
		rqs_flame_free(d->item[i].flame);
	}
	free(d->item);
	free(d->title);
	free(d);
}
