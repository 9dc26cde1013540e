/* mappings.h - what another process has mapped, as /proc/PID/maps tells it. */
#ifndef REQSCOPE_MAPPINGS_H
#define REQSCOPE_MAPPINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A range of addresses. */
struct rqs_mapping {
	uint64_t start, end, offset, inode; /* inode 0: of no file */
	uint64_t device;                    /* as in st_dev */
	bool readable, writable, executable;
	char path[4096]; /* as the kernel tells it; "" none */
};

/* Calls until one returns true, in the order of addresses; that it was returned. */
bool rqs_each_mapping(pid_t pid, bool (*see)(const struct rqs_mapping *mapping, void *context), void *context);
/* The same of an open /proc/PID/maps, from where it stands. */
bool rqs_each_mapping_in(int maps, bool (*see)(const struct rqs_mapping *mapping, void *context), void *context);

#endif
