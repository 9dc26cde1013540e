/* bytes.c - growing by doubling. */
#include "export/bytes.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

uint8_t *rqs_bytes_room(struct rqs_bytes *b, size_t more)
{
	if (b->allocated - b->length < more) {
		b->allocated = 2 * b->allocated > b->length + more ? 2 * b->allocated : b->length + more;
		b->at = rqs_grow(b->at, b->allocated, 1);
	}
	return b->at + b->length;
}

void rqs_bytes_put(struct rqs_bytes *b, const void *bytes, size_t length)
{
	if (!length)
		return;
	memcpy(rqs_bytes_room(b, length), bytes, length);
	b->length += length;
}

void rqs_bytes_put_u32(struct rqs_bytes *b, uint32_t value)
{
	rqs_bytes_put(b, &value, sizeof(value)); /* as is every machine this runs on */
}

void rqs_bytes_put_varint(struct rqs_bytes *b, uint64_t value)
{
	uint8_t *to = rqs_bytes_room(b, 10), *at = to;

	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	b->length += (size_t)(at - to);
}

void rqs_bytes_free(struct rqs_bytes *b)
{
	free(b->at);
	*b = (struct rqs_bytes){0};
}
