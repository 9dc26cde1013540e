/*
 * go_version.c - reads the build information that `go version FILE` shows.
 *
 * Source: src/debug/buildinfo/buildinfo.go.
 */
#include "inject/go_version.h"

#include <string.h>

#define MAGIC "\xff Go buildinf:"
#define MAGIC_LENGTH (sizeof(MAGIC) - 1)
#define ALIGN 16u
#define FLAGS 15u
#define FLAG_INLINE 2u /* the strings follow; before Go 1.18 there were pointers to them */
#define STRINGS 32u
#define SEARCH_MAX (1u << 20)

/* In a section of its own; where all sections were stripped, near the start of the data. */
static const uint8_t *find_info(struct rqs_image *image, uint64_t *left)
{
	uint64_t address, size;

	if (rqs_image_section(image, ".go.buildinfo", &address, &size)) {
		const uint8_t *bytes = rqs_image_from(image, address, left);
		return bytes && *left >= STRINGS && !memcmp(bytes, MAGIC, MAGIC_LENGTH) ? bytes : NULL;
	}
	for (size_t i = 0; i < image->segment_count && !elf_nextscn(image->elf, NULL); i++) {
		struct rqs_segment *segment = &image->segments[i];
		const uint8_t *bytes = segment->writable ? rqs_image_segment(image, segment) : NULL;

		for (uint64_t at = 0; bytes && at + STRINGS <= segment->filled && at < SEARCH_MAX; at += ALIGN)
			if (!memcmp(bytes + at, MAGIC, MAGIC_LENGTH)) {
				*left = segment->filled - at;
				return bytes + at;
			}
	}
	return NULL;
}

bool rqs_go_version(struct rqs_image *image, char *version, size_t size)
{
	uint64_t left = 0;
	const uint8_t *info = find_info(image, &left);

	version[0] = 0;
	if (!info)
		return false;
	if (!(info[FLAGS] & FLAG_INLINE) || left < STRINGS + 3)
		return true;
	size_t length = info[STRINGS]; /* a varint; "go1.26.8" and an experiment's name never need its second byte */
	const char *text = (const char *)info + STRINGS + 1;
	if (length <= 2 || length > 127 || length > left - STRINGS - 1 || memcmp(text, "go", 2))
		return true;
	/* What follows a space or a dash are experiments and vendors' marks. */
	for (length -= 2, text += 2; length && *text != ' ' && *text != '-' && size > 1; length--, size--)
		*version++ = *text++;
	*version = 0;
	return true;
}
