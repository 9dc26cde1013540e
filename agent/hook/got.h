/*
 * got.h - puts the hooks in the place of the host's calls in a process that
 * runs already: each object has a table of the addresses that it calls
 * (System V ABI, "Global Offset Table"), which is changed where it holds the
 * real function, and changed back.
 *
 * Called by one thread at a time, others run on; takes the linker's lock for
 * its list, as dl_iterate_phdr does, and must not be called from within that.
 */
#ifndef REQSCOPE_GOT_H
#define REQSCOPE_GOT_H

#include "core/core_deps.h"

#include <stdbool.h>

/* Finds the real functions and hooks all objects. False: there is no memory to note what was there; nothing is changed. */
bool rqs_got_hook(void);
/* Slots that somebody else has changed since are left. */
void rqs_got_unhook(void);
/* Gives memory back; after rqs_got_unhook(). */
void rqs_got_release(void);

/* Hooks what has been loaded since, if anything has. From any thread, but not from a handler of signals. */
void rqs_got_look(void);
/* Something may have been loaded that isn't hooked yet. */
extern uint32_t rqs_got_due;
static inline void rqs_got_look_if_due(void)
{
	if (rqs_unlikely(rqs_load_relaxed(&rqs_got_due)))
		rqs_got_look();
}

#endif
