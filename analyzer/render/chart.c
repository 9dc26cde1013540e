/* chart.c - building charts. */
#include "render/chart.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static char *copy(const char *text)
{
	return text ? rqs_strndup(text, strlen(text)) : NULL;
}

struct rqs_chart *rqs_chart_new(enum rqs_chart_kind kind, const char *title, const char *note)
{
	struct rqs_chart *c = rqs_zalloc(1, sizeof(*c));

	c->kind = kind;
	c->title = copy(title);
	c->note = copy(note);
	return c;
}

static void set_axis(struct rqs_axis *axis, const char *title, enum rqs_axis_unit unit, enum rqs_axis_scale scale)
{
	free(axis->title);
	*axis = (struct rqs_axis){copy(title), unit, scale};
}

void rqs_chart_x(struct rqs_chart *c, const char *title, enum rqs_axis_unit unit, enum rqs_axis_scale scale)
{
	set_axis(&c->x, title, unit, scale);
}

void rqs_chart_y(struct rqs_chart *c, const char *title, enum rqs_axis_unit unit, enum rqs_axis_scale scale)
{
	set_axis(&c->y, title, unit, scale);
}

void rqs_chart_reference(struct rqs_chart *c, double y)
{
	c->has_reference = true;
	c->reference = y;
}

void rqs_chart_category(struct rqs_chart *c, const char *name)
{
	c->category = rqs_grow(c->category, c->categories + 1, sizeof(char *));
	c->category[c->categories++] = copy(name);
}

struct rqs_series *rqs_chart_series(struct rqs_chart *c, const char *name, unsigned color)
{
	c->series = rqs_grow(c->series, c->series_count + 1, sizeof(*c->series));
	struct rqs_series *s = &c->series[c->series_count++];
	*s = (struct rqs_series){.name = copy(name), .color = color};
	return s;
}

static double *append(double *list, unsigned at, double value)
{
	list = rqs_grow(list, at + 1, sizeof(*list));
	list[at] = value;
	return list;
}

void rqs_series_point(struct rqs_series *s, double x, double y)
{
	s->x = append(s->x, s->points, x);
	s->y = append(s->y, s->points, y);
	s->points++;
}

void rqs_series_band_point(struct rqs_series *s, double x, double y, double low, double high)
{
	s->low = append(s->low, s->points, low);
	s->high = append(s->high, s->points, high);
	rqs_series_point(s, x, y);
}

void rqs_chart_free(struct rqs_chart *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->series_count; i++) {
		struct rqs_series *s = &c->series[i];

		free(s->name);
		free(s->x);
		free(s->y);
		free(s->low);
		free(s->high);
	}
	for (unsigned i = 0; i < c->categories; i++)
		free(c->category[i]);
	free(c->series);
	free(c->category);
	free(c->x.title);
	free(c->y.title);
	free(c->title);
	free(c->note);
	free(c);
}
