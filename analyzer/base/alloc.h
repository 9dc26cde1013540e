/*
 * alloc.h - allocation for the analyzer, which has nothing useful to do
 * without memory: a failure ends the program with one line and status 2.
 */
#ifndef REQSCOPE_ALLOC_H
#define REQSCOPE_ALLOC_H

#include <stddef.h>

void *rqs_zalloc(size_t count, size_t size);          /* zeroed; freed with free() */
void *rqs_grow(void *old, size_t count, size_t size); /* as realloc */
char *rqs_strndup(const char *text, size_t length);
char *rqs_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
