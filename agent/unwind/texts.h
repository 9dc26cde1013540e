/* texts.h - texts that are kept once each: the same text is the same pointer. */
#ifndef UNWIND_TEXTS_H
#define UNWIND_TEXTS_H

#include <stddef.h>
#include <stdint.h>

struct rqs_texts {
	char **all; /* open addressing; NULL empty */
	size_t room, count;
};

/* The kept copy; "" where there is no memory for it. */
const char *rqs_texts_keep(struct rqs_texts *texts, const char *text);
const char *rqs_texts_keep_part(struct rqs_texts *texts, const char *text, size_t length);
void rqs_texts_free(struct rqs_texts *texts);

#endif
