/*
 * got_object.h - the slots of one object: the addresses that it calls, or
 * refers to, by name.
 *
 * Of one thread at a time, while the object can't be unloaded.
 */
#ifndef REQSCOPE_GOT_OBJECT_H
#define REQSCOPE_GOT_OBJECT_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>

struct rqs_got_object {
	const struct dl_phdr_info *info;
	uint64_t sealed, sealed_end; /* whole pages that are read-only after relocation */
	bool open;                   /* we have made them writable */
};

struct rqs_got_object rqs_got_object(const struct dl_phdr_info *info);
/* One of which no more is known than that the slot is in it. */
struct rqs_got_object rqs_got_object_around(const char *const *slot);

/* Has the linker done with it? */
bool rqs_got_object_is_ready(const struct rqs_got_object *object);
/* Is the slot in its variables? */
bool rqs_got_object_has(const struct rqs_got_object *object, const char *const *slot);

/* Hooks what isn't yet: new records, to the newest of which `newest`, 0 none, is set. Of one that is ready. */
void rqs_got_object_hook(struct rqs_got_object *object, uint32_t *newest);
/* Puts back what the record says, unless somebody else has changed the slot since. */
void rqs_got_object_restore(struct rqs_got_object *object, uint32_t record);
/* Seals what was opened for that. */
void rqs_got_object_seal(struct rqs_got_object *object);

#endif
