/* flame.c - building flame graphs. */
#include "render/flame.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

struct rqs_flame *rqs_flame_new(const char *title, const char *note)
{
	struct rqs_flame *f = rqs_zalloc(1, sizeof(*f));

	f->title = rqs_strndup(title, strlen(title));
	f->note = note ? rqs_strndup(note, strlen(note)) : NULL;
	return f;
}

void rqs_flame_add(struct rqs_flame *f, unsigned depth, double from, double width, enum rqs_flame_color color,
		   char *name, char *tip)
{
	f->bar = rqs_grow(f->bar, f->bars + 1, sizeof(*f->bar));
	f->bar[f->bars++] = (struct rqs_flame_bar){depth, from, width, color, name, tip};
	f->depth = depth > f->depth ? depth : f->depth;
}

void rqs_flame_free(struct rqs_flame *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->bars; i++) {
		free(f->bar[i].name);
		free(f->bar[i].tip);
	}
	free(f->bar);
	free(f->title);
	free(f->note);
	free(f);
}
