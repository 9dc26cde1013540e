/*
 * filter.h - what the seccomp filters of a stopped thread say to system calls
 * that it is to make for us: some kill the process for one.
 */
#ifndef REQSCOPE_INJECT_FILTER_H
#define REQSCOPE_INJECT_FILTER_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Are all these calls allowed, by their numbers (-1 at the end), where their
 * arguments are 0? *unknown: there is a filter, and the
 * kernel doesn't show it to us; where it has as many as we live behind, they
 * are taken for those, as in a container, and for such as allow what we do.
 */
bool rqs_filter_allows(pid_t pid, pid_t tid, const short *numbers, bool *unknown);

#endif
