/*
 * flame.h - call stacks as a part of a document: a bar a frame, its caller
 * above it, as wide as what it stands for. The HTML renderer draws it; texts
 * leave it out, as the table beside it says the same in words.
 */
#ifndef REQSCOPE_FLAME_H
#define REQSCOPE_FLAME_H

#include <stdbool.h>

/* Of one side bars have the colour of their language, of a comparison that of what is said of the difference. */
enum rqs_flame_color {
	RQS_FLAME_NATIVE,
	RQS_FLAME_PYTHON,
	RQS_FLAME_GO,
	RQS_FLAME_JAVASCRIPT,
	RQS_FLAME_NO_CODE,
	RQS_FLAME_MUCH_LESS,
	RQS_FLAME_LESS,
	RQS_FLAME_SAME,
	RQS_FLAME_MORE,
	RQS_FLAME_MUCH_MORE,
	RQS_FLAME_COLORS,
};

struct rqs_flame_bar {
	unsigned depth;     /* below the whole, which has 0 */
	double from, width; /* parts of the whole */
	enum rqs_flame_color color;
	char *name; /* what stands in it */
	char *tip;  /* all that is known of it, in a line */
};

struct rqs_flame {
	char *title, *note; /* the latter may be NULL */
	unsigned depth; /* the greatest */
	unsigned bars;  /* in depth-first order, callers first */
	struct rqs_flame_bar *bar;
};

struct rqs_flame *rqs_flame_new(const char *title, const char *note);
/* Takes over the texts. `depth` is at most one more than that of the bar before. */
void rqs_flame_add(struct rqs_flame *f, unsigned depth, double from, double width, enum rqs_flame_color color,
		   char *name, char *tip);
void rqs_flame_free(struct rqs_flame *f);

#endif
