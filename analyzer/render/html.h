/* html.h - the parts of an HTML page, each in a file of its own: what html.c puts together. */
#ifndef REQSCOPE_HTML_H
#define REQSCOPE_HTML_H

#include "render/chart.h"
#include "render/flame.h"

#include <stdbool.h>
#include <stdio.h>

/* page.css and page.js. The script sorts and filters; without it nothing is missing. */
extern const char rqs_html_style[], rqs_html_script[];

/* A text of unknown origin, as content or as an attribute's value. NULL is empty. */
void rqs_html_text(FILE *out, const char *text);
/* <element class="class">text</element>; no class where that is empty. */
void rqs_html_element(FILE *out, const char *element, const char *class, const char *text);

/* A figure with its heading of this level, picture and data. `number` makes its ids the page's only ones. */
void rqs_html_chart(FILE *out, const struct rqs_chart *c, unsigned number, unsigned level);
/* The same for call stacks; numbers are counted apart. */
void rqs_html_flame(FILE *out, const struct rqs_flame *f, unsigned number, unsigned level);

/* ---- what a figure is made of ---- */

#define RQS_SERIES_COLORS 8 /* classes s0, s1, ...: of lines */
#define RQS_PART_COLORS 8   /* classes p0, p1, ...: of stacks */
#define RQS_DASHES 8        /* classes d0, d1, ... */

#define RQS_PICTURE_WIDTH 480 /* in units of the view box: about pixels on a wide screen */

/* Each writes what is in the svg element, whose height is asked for before; 0: nothing can be drawn. */
double rqs_html_lines_height(const struct rqs_chart *c);
void rqs_html_lines(FILE *out, const struct rqs_chart *c);
double rqs_html_stack_height(const struct rqs_chart *c);
void rqs_html_stack(FILE *out, const struct rqs_chart *c);

/* Whether the lines' names stand at their ends, so that there needs to be no legend. */
bool rqs_html_lines_are_named(const struct rqs_chart *c);
/* A series' mark, around (x, y). */
void rqs_html_mark(FILE *out, unsigned color, double x, double y);
/* Whether a series of a stack is to be seen in some bar. */
bool rqs_html_part_shows(const struct rqs_series *s);

/* All numbers of a chart, as a table. */
void rqs_html_chart_data(FILE *out, const struct rqs_chart *c);

#endif
