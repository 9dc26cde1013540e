/* bytes.h - bytes that grow at the end. A zeroed struct is empty. */
#ifndef REQSCOPE_BYTES_H
#define REQSCOPE_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct rqs_bytes {
	uint8_t *at;
	size_t length, allocated;
};

/* Room for `more` bytes behind the end, which the caller fills and counts. */
uint8_t *rqs_bytes_room(struct rqs_bytes *b, size_t more);
void rqs_bytes_put(struct rqs_bytes *b, const void *bytes, size_t length);
void rqs_bytes_put_u32(struct rqs_bytes *b, uint32_t value);    /* little-endian */
void rqs_bytes_put_varint(struct rqs_bytes *b, uint64_t value); /* unsigned LEB128 */
void rqs_bytes_free(struct rqs_bytes *b);

#endif
