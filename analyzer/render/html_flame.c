/*
 * html_flame.c - a flame graph with the whole on top, so that a page is read
 * downwards and a deep stack needs no scrolling up.
 *
 * A bar is a picture of its own inside of the picture: its place and width
 * are in per cent, so that a graph is as wide as the window, letters keep
 * their size, and a name is cut where its bar ends. page.js zooms by changing
 * these two numbers alone.
 */
#include "render/html.h"

#define ROW 18       /* pixels */
#define NAMED 0.0125 /* narrower bars, of the whole, have no room for a letter */

static const struct {
	const char *class, *means; /* means NULL: nothing that a legend needs to tell */
} colors[RQS_FLAME_COLORS] = {
    [RQS_FLAME_NATIVE] = {"p0", "native"}, [RQS_FLAME_PYTHON] = {"p4", "Python"},
    [RQS_FLAME_GO] = {"p2", "Go"},         [RQS_FLAME_JAVASCRIPT] = {"p3", "JavaScript"},
    [RQS_FLAME_NO_CODE] = {"p6", NULL},    [RQS_FLAME_MUCH_LESS] = {"h0", "much less"},
    [RQS_FLAME_LESS] = {"h1", "less"},     [RQS_FLAME_SAME] = {"p6", "no sure difference"},
    [RQS_FLAME_MORE] = {"h2", "more"},     [RQS_FLAME_MUCH_MORE] = {"h3", "much more"},
};

static void put_legend(FILE *out, const struct rqs_flame *f)
{
	bool used[RQS_FLAME_COLORS] = {false};

	for (unsigned i = 0; i < f->bars; i++)
		used[f->bar[i].color] = true;
	fputs("<ul class=\"legend\">", out);
	for (unsigned i = 0; i < RQS_FLAME_COLORS; i++)
		if (used[i] && colors[i].means)
			fprintf(out,
				"<li><svg class=\"key box %s\" viewBox=\"0 0 12 12\" aria-hidden=\"true\"><path "
				"class=\"part\" d=\"M0 0h12v12h-12z\"/></svg>%s</li>",
				colors[i].class, colors[i].means);
	fputs("</ul>\n", out);
}

static void put_bar(FILE *out, const struct rqs_flame_bar *b)
{
	fprintf(out, "<svg class=\"%s\" x=\"%.4g%%\" y=\"%u\" width=\"%.4g%%\" height=\"%d\"><title>",
		colors[b->color].class, b->from * 100, b->depth * ROW, b->width * 100, ROW);
	rqs_html_text(out, b->tip);
	fputs("</title><rect/>", out);
	if (b->width >= NAMED) {
		fputs("<text>", out);
		rqs_html_text(out, b->name);
		fputs("</text>", out);
	}
	fputs("</svg>\n", out);
}

void rqs_html_flame(FILE *out, const struct rqs_flame *f, unsigned number, unsigned level)
{
	fprintf(out, "<figure class=\"stacks\"><h%u id=\"f%u\">", level, number);
	rqs_html_text(out, f->title);
	fprintf(out, "</h%u>\n", level);
	if (f->note)
		rqs_html_element(out, "p", "note", f->note);
	put_legend(out, f);
	fprintf(out,
		"<svg class=\"flame\" role=\"img\" aria-labelledby=\"f%u f%ud\" height=\"%u\"><desc id=\"f%ud\">"
		"%u frames of call stacks, %u deep; the table above names the sites.</desc>\n",
		number, number, (f->depth + 1) * ROW, number, f->bars, f->depth);
	for (unsigned i = 0; i < f->bars; i++)
		put_bar(out, &f->bar[i]);
	fputs("</svg></figure>\n", out);
}
