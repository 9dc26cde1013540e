/*
 * source.h - where a trace's bytes come from: a file, or a buffer (fuzzing).
 *
 * The size is fixed when the source is opened: a file that is still being
 * written is read up to there, in every pass. A pipe is copied to an unlinked
 * temporary file first, because the analyzer reads a trace twice.
 */
#ifndef REQSCOPE_SOURCE_H
#define REQSCOPE_SOURCE_H

#include <stddef.h>
#include <stdint.h>

struct rqs_source {
	int fd;               /* -1 for a buffer */
	const uint8_t *bytes; /* of a buffer */
	uint64_t size;
};

/* 0, or -errno. EISDIR for a directory. */
int rqs_source_open(struct rqs_source *s, const char *path);
void rqs_source_buffer(struct rqs_source *s, const uint8_t *bytes, size_t size);
/* How many of the `length` bytes at `offset` could be read; fewer at the end or on an error. */
size_t rqs_source_read(const struct rqs_source *s, uint64_t offset, void *to, size_t length);
void rqs_source_close(struct rqs_source *s);

#endif
