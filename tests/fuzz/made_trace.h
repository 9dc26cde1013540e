/*
 * made_trace.h - an input of a fuzzer as a trace.
 *
 * A checksum and a compressor stand between a fuzzer and most of the code, so
 * the first byte of an input chooses: 0, the rest is the file as it is;
 * otherwise the rest is a list of (type, length in two bytes, payload), from
 * which correct frames are made.
 */
#ifndef FUZZ_MADE_TRACE_H
#define FUZZ_MADE_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct made_trace {
	int fd; /* of a file without a name, to be closed */
	char path[40];
};

void made_trace_start(struct made_trace *t);
/* Appends one correct frame, of at most 64 KiB. */
void made_trace_frame(struct made_trace *t, uint8_t type, const void *payload, size_t length);
/* The trace that an input of one byte or more stands for. */
void made_trace_of(struct made_trace *t, const uint8_t *bytes, size_t length);
/* Calls `use` with it, and with a file that keeps nothing; an input of no byte is none. */
void made_trace_use(const uint8_t *bytes, size_t length, void (*use)(char *path, FILE *out));

#endif
