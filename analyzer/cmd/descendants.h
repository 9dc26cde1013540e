/* descendants.h - what /proc says of a process, and of those that came of it. */
#ifndef CMD_DESCENDANTS_H
#define CMD_DESCENDANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct rqs_seen_process {
	pid_t pid, parent;
	char state;
	char name[32];
	uint64_t start; /* clock ticks since the machine's */
	uint64_t image; /* another after each exec; 0 where we may not know */
};

/* False: no such process. */
bool rqs_process_see(pid_t pid, struct rqs_seen_process *seen);
/* It is dead, whether its parent has taken note or not. */
bool rqs_process_has_ended(const struct rqs_seen_process *seen);

/*
 * The process and all that came of it, parents before children, those that
 * are dead left out; for the caller to free. NULL: no memory, or no /proc.
 * Those whose parent has ended aren't found.
 */
struct rqs_seen_process *rqs_descendants(pid_t pid, size_t *count);

#endif
