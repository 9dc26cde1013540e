/* output.h - a rendering goes to standard output, or to a file that appears whole or not at all. */
#ifndef REQSCOPE_OUTPUT_H
#define REQSCOPE_OUTPUT_H

#include "render/formats.h"

/*
 * path NULL: standard output, coloured when that is a terminal and NO_COLOR
 * isn't set. An existing path is an error without `force`. Returns NULL, or
 * what went wrong, to be freed.
 */
char *rqs_output(const struct rqs_format *format, struct rqs_rendering what, const char *path, bool force);
/* The same check before hours of reading: NULL, or what is wrong. */
char *rqs_output_check(const char *path, bool force);

#endif
