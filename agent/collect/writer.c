/* writer.c - frames: compressed, checked, appended whole. */
#include "collect/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define LEVEL 3

static int create(const char *path, bool force)
{
	struct stat old;

	if (force && !stat(path, &old)) {
		if (!S_ISREG(old.st_mode)) /* /dev/null, a pipe: nothing to replace */
			return open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		if (unlink(path) && errno != ENOENT)
			return -1;
	}
	return open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
}

int rqs_writer_start(struct rqs_writer *writer, int fd)
{
	memset(writer, 0, sizeof(*writer));
	writer->fd = fd;
	writer->zstd = ZSTD_createCCtx();
	if (!writer->zstd)
		return -ENOMEM;
	ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, LEVEL);
	return 0;
}

int rqs_writer_open(struct rqs_writer *writer, const char *path, bool force)
{
	int error = rqs_writer_start(writer, -1);

	if (error)
		return error;
	writer->fd = create(path, force);
	if (writer->fd < 0) {
		error = -errno;
		ZSTD_freeCCtx(writer->zstd);
	}
	return error;
}

void rqs_writer_close(struct rqs_writer *writer)
{
	close(writer->fd);
	ZSTD_freeCCtx(writer->zstd);
	free(writer->frame);
	memset(writer, 0, sizeof(*writer));
	writer->fd = -1;
}

static int reserve(struct rqs_writer *writer, size_t capacity)
{
	if (capacity <= writer->frame_capacity)
		return 0;
	unsigned char *frame = realloc(writer->frame, capacity);
	if (!frame)
		return -ENOMEM;
	writer->frame = frame;
	writer->frame_capacity = capacity;
	return 0;
}

static int write_all(int fd, const unsigned char *bytes, size_t length)
{
	while (length) {
		ssize_t written = write(fd, bytes, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		if (!written)
			return -EIO;
		bytes += written;
		length -= (size_t)written;
	}
	return 0;
}

/* Builds the frame in writer->frame; its length in *length. */
static int build(struct rqs_writer *writer, struct rqs_frame_header header, const void *payload, size_t *length)
{
	size_t bound = ZSTD_compressBound(header.raw_length), stored;
	int error = reserve(writer, sizeof(header) + bound);
	XXH64_state_t hash;

	if (error)
		return error;
	stored = ZSTD_compress2(writer->zstd, writer->frame + sizeof(header), bound, payload, header.raw_length);
	if (ZSTD_isError(stored))
		return -ENOMEM;
	if (stored > RQS_FRAME_MAX)
		return -EMSGSIZE;
	header.stored_length = (uint32_t)stored;
	XXH64_reset(&hash, 0);
	XXH64_update(&hash, &header, offsetof(struct rqs_frame_header, checksum));
	XXH64_update(&hash, writer->frame + sizeof(header), stored);
	header.checksum = XXH64_digest(&hash);
	memcpy(writer->frame, &header, sizeof(header));
	*length = sizeof(header) + stored;
	return 0;
}

int rqs_writer_append(struct rqs_writer *writer, enum rqs_frame_type type, uint64_t first, uint64_t last,
		      const void *payload, size_t length)
{
	struct rqs_frame_header header = {
	    .magic = RQS_FRAME_MAGIC,
	    .type = (uint8_t)type,
	    .version = RQS_TRACE_VERSION,
	    .raw_length = (uint32_t)length,
	    .first_time = first,
	    .last_time = last,
	};
	size_t frame_length = 0;
	int error = length > RQS_FRAME_MAX ? -EMSGSIZE : build(writer, header, payload, &frame_length);

	if (!error)
		error = write_all(writer->fd, writer->frame, frame_length);
	if (!error) {
		writer->length += frame_length;
		return 0;
	}
	/* A reader would report the torn frame as damage. Where it can't be cut off (a pipe), it will. */
	int cut = ftruncate(writer->fd, (off_t)writer->length);

	(void)cut;
	if (!writer->error)
		writer->error = -error;
	writer->frames_lost++;
	return error;
}
