/* made_trace.c - frames with the right checksum, whatever is in them. */
#define XXH_INLINE_ALL
#include "made_trace.h"

#include <reqscope/trace_format.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

static void put(int fd, const void *bytes, size_t length)
{
	if (write(fd, bytes, length) != (ssize_t)length)
		abort();
}

void made_trace_start(struct made_trace *t)
{
	t->fd = memfd_create("trace", MFD_CLOEXEC);
	if (t->fd < 0)
		abort();
	snprintf(t->path, sizeof(t->path), "/proc/self/fd/%d", t->fd);
}

void made_trace_frame(struct made_trace *t, uint8_t type, const void *payload, size_t length)
{
	static uint8_t stored[70000];
	struct rqs_frame_header h = {
	    .magic = RQS_FRAME_MAGIC,
	    .type = type,
	    .version = 1,
	    .raw_length = (uint32_t)length,
	    .last_time = 1u << 30,
	};
	XXH64_state_t hash;

	h.stored_length = (uint32_t)ZSTD_compress(stored, sizeof(stored), payload, length, -5);
	XXH64_reset(&hash, 0);
	XXH64_update(&hash, &h, offsetof(struct rqs_frame_header, checksum));
	XXH64_update(&hash, stored, h.stored_length);
	h.checksum = XXH64_digest(&hash);
	put(t->fd, &h, sizeof(h));
	put(t->fd, stored, h.stored_length);
}

static void put_frames(struct made_trace *t, const uint8_t *p, const uint8_t *end)
{
	while (end - p >= 3) {
		size_t length = (size_t)(p[1] | p[2] << 8);

		if (length > (size_t)(end - p - 3))
			length = (size_t)(end - p - 3);
		made_trace_frame(t, p[0] % 10, p + 3, length);
		p += 3 + length;
	}
}

void made_trace_of(struct made_trace *t, const uint8_t *bytes, size_t length)
{
	made_trace_start(t);
	if (bytes[0])
		put_frames(t, bytes + 1, bytes + length);
	else
		put(t->fd, bytes + 1, length - 1);
}

void made_trace_use(const uint8_t *bytes, size_t length, void (*use)(char *path, FILE *out))
{
	static FILE *out;
	struct made_trace trace;

	if (!length)
		return;
	if (!out)
		out = fopen("/dev/null", "w");
	if (!out)
		abort();
	made_trace_of(&trace, bytes, length);
	use(trace.path, out);
	close(trace.fd);
}
