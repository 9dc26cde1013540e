/* gzip.h - bytes as a gzip file (RFC 1952), without a name or a time in it: the same bytes, the same file. */
#ifndef REQSCOPE_GZIP_H
#define REQSCOPE_GZIP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

void rqs_gzip(FILE *out, const uint8_t *bytes, size_t length);

#endif
