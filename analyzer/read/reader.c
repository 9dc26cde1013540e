/* reader.c - frames, their checks, and finding the next one after damage. */
#define XXH_INLINE_ALL
#include "read/reader.h"
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define HEADER sizeof(struct rqs_frame_header)
#define SEARCH_WINDOW 65536u
#define PREFIX_WINDOW_LOG 23 /* memory that a prefix may cost at most, as a power of two */

static int say(struct rqs_damage *d, uint64_t offset, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int say(struct rqs_damage *d, uint64_t offset, const char *format, ...)
{
	va_list args;

	d->offset = offset;
	va_start(args, format);
	vsnprintf(d->what, sizeof(d->what), format, args);
	va_end(args);
	return -1;
}

static void start(struct rqs_reader *r)
{
	r->zstd = ZSTD_createDCtx();
	r->stream = ZSTD_createDCtx();
	if (!r->zstd || !r->stream) {
		fputs("reqscope: out of memory\n", stderr);
		exit(2);
	}
	rqs_reader_rewind(r);
}

int rqs_reader_open(struct rqs_reader *r, const char *path)
{
	memset(r, 0, sizeof(*r));
	int error = rqs_source_open(&r->source, path);
	if (!error)
		start(r);
	return error;
}

void rqs_reader_open_buffer(struct rqs_reader *r, const uint8_t *bytes, size_t size)
{
	memset(r, 0, sizeof(*r));
	rqs_source_buffer(&r->source, bytes, size);
	start(r);
}

void rqs_reader_rewind(struct rqs_reader *r)
{
	r->offset = 0;
	/* A file of nothing but headers that each claim 64 MiB would cost hours otherwise. */
	r->search_left = (1ull << 30) + 16 * r->source.size;
}

void rqs_reader_release(struct rqs_reader *r)
{
	free(r->stored);
	free(r->raw);
	r->stored = r->raw = NULL;
	r->stored_size = r->raw_size = 0;
}

void rqs_reader_close(struct rqs_reader *r)
{
	rqs_source_close(&r->source);
	ZSTD_freeDCtx(r->zstd);
	ZSTD_freeDCtx(r->stream);
	rqs_reader_release(r);
	memset(r, 0, sizeof(*r));
	r->source.fd = -1;
}

/* Buffers grow to what a frame needs and stay; a writer's frames are all about the same. */
static void reserve(uint8_t **buffer, size_t *size, size_t wanted)
{
	if (wanted <= *size)
		return;
	free(*buffer);
	*size = wanted;
	*buffer = rqs_grow(NULL, wanted, 1);
}

static int check_header(const struct rqs_reader *r, const struct rqs_frame *f, struct rqs_damage *d)
{
	const struct rqs_frame_header *h = &f->header;

	if (h->magic != RQS_FRAME_MAGIC)
		return say(d, f->offset, "no frame begins here");
	if (h->stored_length > RQS_FRAME_MAX || h->raw_length > RQS_FRAME_MAX || !h->raw_length || !h->stored_length)
		return say(d, f->offset, "impossible frame lengths (%u stored, %u raw)", h->stored_length,
			   h->raw_length);
	if (h->first_time > h->last_time || h->last_time >= RQS_TIME_LIMIT)
		return say(d, f->offset, "impossible frame times");
	if (h->stored_length > r->source.size - f->offset - HEADER)
		return say(d, f->offset, "the file ends inside a frame (%llu of %u payload bytes)",
			   (unsigned long long)(r->source.size - f->offset - HEADER), h->stored_length);
	return 0;
}

static int read_header(const struct rqs_reader *r, struct rqs_frame *f, struct rqs_damage *d)
{
	size_t n = rqs_source_read(&r->source, f->offset, &f->header, HEADER);

	if (n < HEADER)
		return say(d, f->offset, "the file ends inside a frame's header (%zu of %zu bytes)", n, HEADER);
	return check_header(r, f, d);
}

static int check_payload(struct rqs_reader *r, const struct rqs_frame *f, struct rqs_damage *d)
{
	uint32_t length = f->header.stored_length;
	XXH64_state_t hash;

	reserve(&r->stored, &r->stored_size, length);
	if (rqs_source_read(&r->source, f->offset + HEADER, r->stored, length) != length)
		return say(d, f->offset, "the file could not be read");
	XXH64_reset(&hash, 0);
	XXH64_update(&hash, &f->header, offsetof(struct rqs_frame_header, checksum));
	XXH64_update(&hash, r->stored, length);
	if (XXH64_digest(&hash) != f->header.checksum)
		return say(d, f->offset, "wrong checksum");
	return 0;
}

/* The offset of the next magic at or after `from`, or the source's size. */
static uint64_t find_magic(const struct rqs_reader *r, uint64_t from)
{
	static const char magic[4] = {'R', 'Q', 'S', 'F'};
	char window[SEARCH_WINDOW];

	while (from < r->source.size) {
		size_t n = rqs_source_read(&r->source, from, window, sizeof(window));
		char *hit = n >= sizeof(magic) ? memmem(window, n, magic, sizeof(magic)) : NULL;

		if (hit)
			return from + (uint64_t)(hit - window);
		if (n < sizeof(window))
			break;
		from += n - (sizeof(magic) - 1);
	}
	return r->source.size;
}

/* Sets r->offset to the next correct frame after `bad`, or to the end. */
static void resynchronise(struct rqs_reader *r, uint64_t bad, struct rqs_damage *d)
{
	struct rqs_damage ignored;
	struct rqs_frame f = {.offset = bad};

	for (;;) {
		f.offset = find_magic(r, f.offset + 1);
		if (f.offset >= r->source.size)
			break;
		if (read_header(r, &f, &ignored))
			continue;
		if (r->search_left < f.header.stored_length) {
			strncat(d->what, "; too much damage behind it to go on", sizeof(d->what) - strlen(d->what) - 1);
			break;
		}
		r->search_left -= f.header.stored_length;
		if (!check_payload(r, &f, &ignored)) {
			r->offset = f.offset;
			return;
		}
	}
	r->offset = r->source.size;
}

enum rqs_read_result rqs_reader_next(struct rqs_reader *r, struct rqs_frame *frame, struct rqs_damage *damage)
{
	frame->offset = r->offset;
	if (r->offset >= r->source.size)
		return RQS_READ_END;
	if (read_header(r, frame, damage) || check_payload(r, frame, damage)) {
		resynchronise(r, frame->offset, damage);
		return RQS_READ_DAMAGE;
	}
	r->offset += HEADER + frame->header.stored_length;
	return RQS_READ_FRAME;
}

const uint8_t *rqs_reader_payload(struct rqs_reader *r, const struct rqs_frame *frame, struct rqs_damage *damage)
{
	uint32_t length = frame->header.raw_length;

	if (ZSTD_findFrameCompressedSize(r->stored, frame->header.stored_length) != frame->header.stored_length) {
		say(damage, frame->offset, "the payload is not one zstd frame");
		return NULL;
	}
	reserve(&r->raw, &r->raw_size, length);
	size_t n = ZSTD_decompressDCtx(r->zstd, r->raw, length, r->stored, frame->header.stored_length);
	if (ZSTD_isError(n))
		say(damage, frame->offset, "the payload does not decompress to %u bytes (%s)", length,
		    ZSTD_getErrorName(n));
	else if (n != length)
		say(damage, frame->offset, "the payload decompresses to %zu bytes, not %u", n, length);
	else
		return r->raw;
	return NULL;
}

const uint8_t *rqs_reader_prefix(struct rqs_reader *r, const struct rqs_frame *frame, size_t *length)
{
	uint32_t wanted = frame->header.raw_length < RQS_PREFIX ? frame->header.raw_length : RQS_PREFIX;
	ZSTD_inBuffer in = {r->stored, frame->header.stored_length, 0};

	reserve(&r->raw, &r->raw_size, wanted);
	ZSTD_outBuffer out = {r->raw, wanted, 0};
	ZSTD_DCtx_reset(r->stream, ZSTD_reset_session_only);
	ZSTD_DCtx_setParameter(r->stream, ZSTD_d_windowLogMax, PREFIX_WINDOW_LOG);
	while (out.pos < wanted) {
		size_t before = in.pos + out.pos;

		if (ZSTD_isError(ZSTD_decompressStream(r->stream, &out, &in)) || in.pos + out.pos == before)
			return NULL;
	}
	*length = wanted;
	return r->raw;
}
