/*
 * writer.h - appends frames to the trace file.
 *
 * A write that fails (disk full, quota) never ends the recording: the torn
 * frame is cut off again, the failure is remembered, and the next frame is
 * tried anew.
 */
#ifndef COLLECT_WRITER_H
#define COLLECT_WRITER_H

#include "reqscope/trace_format.h"

#include <stdbool.h>

struct ZSTD_CCtx_s;

struct rqs_writer {
	int fd;
	uint64_t length; /* bytes of whole frames in the file */
	int error;       /* errno of the first frame that couldn't be written, 0 when all could */
	uint64_t frames_lost;
	struct ZSTD_CCtx_s *zstd;
	unsigned char *frame; /* scratch: header and stored payload */
	size_t frame_capacity;
};

/*
 * Creates `path`, 0600. One that exists is -EEXIST; with `force` it is
 * replaced, or appended to when it isn't a regular file. 0 or -errno.
 */
int rqs_writer_open(struct rqs_writer *writer, const char *path, bool force);

/* The same for an empty file, a pipe or the like that is open already, and is the writer's from now on. 0 or -ENOMEM. */
int rqs_writer_start(struct rqs_writer *writer, int fd);

void rqs_writer_close(struct rqs_writer *writer);

/* Appends one frame. 0 or -errno; on failure the file ends with the frame before. */
int rqs_writer_append(struct rqs_writer *writer, enum rqs_frame_type type, uint64_t first, uint64_t last,
		      const void *payload, size_t length);

#endif
