/*
 * claim.h - several who attach at the same time: one after the other, and
 * nobody takes out what another one's recording uses.
 */
#ifndef CMD_CLAIM_H
#define CMD_CLAIM_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Waits until nobody else changes the process, for some seconds at most. A
 * descriptor, to be closed when all is done; -EBUSY: somebody does, still; or
 * another -errno, mostly where the process may not be changed at all.
 */
int rqs_claim(pid_t pid);

/* Whether a recording whose collector lives has hooks in it. Takes up to three seconds where it doesn't. */
bool rqs_is_recorded(pid_t pid);

#endif
