/* node_version.h - finds out which Node.js a process runs, without asking it. */
#ifndef COLLECT_NODE_VERSION_H
#define COLLECT_NODE_VERSION_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Looks in the executable, then in libnode, of the process whose /proc/PID is
 * `dir`. Writes "X.Y.Z". Reads up to some 100 MB, once a file.
 */
bool rqs_node_version(int dir, char *version, size_t size);

/* The search itself: finds "/node-vX.Y.Z" in a file. */
bool rqs_node_version_in(int fd, char *version, size_t size);

#endif
