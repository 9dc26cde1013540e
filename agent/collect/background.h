/* background.h - makes the collector a process that is in nobody's way, and in nobody's reach. */
#ifndef COLLECT_BACKGROUND_H
#define COLLECT_BACKGROUND_H

#include <stdbool.h>

/*
 * Ignores signals, raises limits, drops the environment that would make us a
 * target, and closes every descriptor but 0, 1, 2 and those `count` given. They
 * may be -1 and may be moved. With detach, returns only in a grandchild that has a
 * session of its own.
 */
void rqs_go_to_background(bool detach, int *const *keep, unsigned count);

/* Points 0, 1 and 2 to /dev/null and leaves the working directory. */
void rqs_let_go_of_terminal(void);

#endif
