/* unit.h - cmocka, and what the unit tests share. */
#ifndef REQSCOPE_UNIT_H
#define REQSCOPE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

/* A copy of n bytes that ends where memory ends. The copy lasts until the next call. */
static inline const uint8_t *at_page_end(const void *bytes, size_t n)
{
	enum { ROOM = 1 << 20, PAGE = 4096 };
	static uint8_t *room;

	if (!room) {
		room = mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(room, MAP_FAILED);
		assert_int_equal(mprotect(room + ROOM, PAGE, PROT_NONE), 0);
	}
	assert_true(n <= ROOM);
	memcpy(room + ROOM - n, bytes, n);
	return room + ROOM - n;
}

#endif
