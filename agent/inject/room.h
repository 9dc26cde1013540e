/* room.h - arrays that grow by doubling, and may find no memory. */
#ifndef REQSCOPE_ROOM_H
#define REQSCOPE_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

/* Room for one more entry of `size` bytes in an array of `count`, NULL at first. False: no memory, nothing changed. */
static inline bool rqs_make_room(void **all, size_t *room, size_t count, size_t size)
{
	if (count < *room)
		return true;
	size_t more = *room ? 2 * *room : 256;
	void *larger = realloc(*all, more * size);

	if (!larger)
		return false;
	*all = larger;
	*room = more;
	return true;
}

#endif
