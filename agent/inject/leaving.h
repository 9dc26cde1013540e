/* leaving.h - that no thread of a process is in the library any more: then what it works with can be given back. */
#ifndef REQSCOPE_LEAVING_H
#define REQSCOPE_LEAVING_H

#include "inject/threads.h"

#include "reqscope/attach_words.h"

/* Of a stopped thread: where glibc's list of robust futexes is from its FS base, which is the same in all; 0 unknown.
 */
uint64_t rqs_list_offset(const struct rqs_stopped *thread);

/*
 * Waits until each thread was seen outside once, after the library was told to
 * let none in; for two seconds at most. *longest_ns: how long one was stopped.
 * `memory` is /proc/PID/mem.
 */
bool rqs_all_leave(pid_t pid, int memory, const struct rqs_attach_probe *probe, uint64_t list_offset,
		   uint64_t *longest_ns);

#endif
