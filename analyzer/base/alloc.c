/* alloc.c - allocation that never returns NULL. */
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p)
{
	if (p)
		return p;
	fputs("reqscope: out of memory\n", stderr);
	exit(2);
}

void *rqs_zalloc(size_t count, size_t size)
{
	return checked(calloc(count ? count : 1, size ? size : 1));
}

void *rqs_grow(void *old, size_t count, size_t size)
{
	return checked(reallocarray(old, count ? count : 1, size));
}

char *rqs_strndup(const char *text, size_t length)
{
	char *copy = checked(malloc(length + 1));

	memcpy(copy, text, length);
	copy[length] = 0;
	return copy;
}

char *rqs_format(const char *format, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, format);
	int length = vasprintf(&text, format, args);
	va_end(args);
	return checked(length < 0 ? NULL : text);
}
