/* utf8.h - a walk over texts that may be anything. */
#ifndef REQSCOPE_UTF8_H
#define REQSCOPE_UTF8_H

#include <stdint.h>

#define RQS_UTF8_INVALID UINT32_MAX

/* The code point at p, in a terminated text, and how many bytes it takes; RQS_UTF8_INVALID takes one. */
uint32_t rqs_utf8_decode(const unsigned char *p, unsigned *length);

#endif
