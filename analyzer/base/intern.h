/*
 * intern.h - strings of bytes, each kept once and numbered in the order in
 * which they came, from 0. A zeroed struct is empty.
 */
#ifndef REQSCOPE_INTERN_H
#define REQSCOPE_INTERN_H

#include <stddef.h>
#include <stdint.h>

struct rqs_interned {
	size_t at, length; /* in bytes */
	uint64_t hash;
};

struct rqs_intern {
	uint32_t count;
	struct rqs_interned *entry;
	uint8_t *bytes;
	size_t used, allocated; /* of the bytes */
	uint32_t slots;         /* a power of two, more than twice the count */
	uint32_t *slot;         /* an entry's number + 1 */
};

/* Its number; it is a new one when the count has grown. The bytes are copied. */
uint32_t rqs_intern(struct rqs_intern *t, const void *bytes, size_t length);
uint32_t rqs_intern_text(struct rqs_intern *t, const char *text);
/* Valid until the next one comes. Below the count. */
const void *rqs_interned(const struct rqs_intern *t, uint32_t number, size_t *length);
void rqs_intern_free(struct rqs_intern *t);

#endif
