/* output.h - a rendering goes to standard output, or to a file that appears whole or not at all. */
#ifndef REQSCOPE_OUTPUT_H
#define REQSCOPE_OUTPUT_H

#include "render/formats.h"

#include <sys/types.h>

/* Writes to `out`, whose errors are looked at afterwards. False: there is nothing to show; a file doesn't appear. */
typedef bool (*rqs_write)(FILE *out, void *context);

/*
 * path NULL: standard output. An existing path is an error without `force`;
 * a new file gets `mode` less the umask. Returns NULL, or what went wrong,
 * to be freed.
 */
char *rqs_output_stream(const char *path, bool force, mode_t mode, rqs_write write, void *context);

/* The same for a rendering; coloured when standard output is a terminal and NO_COLOR isn't set. */
char *rqs_output(const struct rqs_format *format, struct rqs_rendering what, const char *path, bool force);
/* The same check before hours of reading: NULL, or what is wrong. */
char *rqs_output_check(const char *path, bool force);

#endif
