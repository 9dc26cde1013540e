/* text.h - makes bytes from outside fit to be written as UTF-8 text. */
#ifndef COLLECT_TEXT_H
#define COLLECT_TEXT_H

#include <stddef.h>

/* Replaces, in place, every control character and every byte that isn't part of valid UTF-8 by '?'. */
void rqs_make_printable(char *text, size_t length);

#endif
