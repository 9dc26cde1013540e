/* source.c - files, pipes and buffers, read by offset. */
#include "read/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *bytes, ssize_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, bytes, (size_t)length);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			bytes += n;
			length -= n;
		}
	}
	return 0;
}

/* Copies a pipe into an unlinked file; returns its descriptor or -errno. Closes `from`. */
static int spool(int from)
{
	const char *folder = getenv("TMPDIR");
	int to = open(folder && *folder ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char buffer[65536];
	ssize_t n = 0;
	int error = to < 0 ? -errno : 0;

	while (!error && (n = read(from, buffer, sizeof(buffer))) != 0)
		error = n > 0 ? write_all(to, buffer, n) : errno == EINTR ? 0 : -errno;
	close(from);
	if (error && to >= 0)
		close(to);
	return error ? error : to;
}

int rqs_source_open(struct rqs_source *s, const char *path)
{
	struct stat st;

	memset(s, 0, sizeof(*s));
	s->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		s->fd = spool(s->fd);
		if (s->fd < 0)
			return s->fd;
		if (fstat(s->fd, &st))
			return -errno;
	}
	if (S_ISDIR(st.st_mode)) {
		rqs_source_close(s);
		return -EISDIR;
	}
	s->size = (uint64_t)st.st_size;
	return 0;
}

void rqs_source_buffer(struct rqs_source *s, const uint8_t *bytes, size_t size)
{
	s->fd = -1;
	s->bytes = bytes;
	s->size = size;
}

size_t rqs_source_read(const struct rqs_source *s, uint64_t offset, void *to, size_t length)
{
	size_t done = 0;

	if (offset >= s->size)
		return 0;
	if (length > s->size - offset)
		length = (size_t)(s->size - offset);
	if (s->fd < 0) {
		memcpy(to, s->bytes + offset, length);
		return length;
	}
	while (done < length) {
		ssize_t n = pread(s->fd, (char *)to + done, length - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

void rqs_source_close(struct rqs_source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}
