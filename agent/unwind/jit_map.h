/*
 * jit_map.h - names of code that a process made while it runs, from the file
 * that runtimes write for perf(1) where they are told to:
 * /tmp/perf-PID.map, in Node by --perf-basic-prof.
 */
#ifndef UNWIND_JIT_MAP_H
#define UNWIND_JIT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rqs_jit_map;

/* procdir: /proc/PID, root: its root; both stay the caller's. NULL: no memory. */
struct rqs_jit_map *rqs_jit_map_new(int procdir, int root);
void rqs_jit_map_free(struct rqs_jit_map *map);

/* A line's name, valid until the next call; NULL none. It may change: code is moved and thrown away. */
const char *rqs_jit_map_name(struct rqs_jit_map *map, uint64_t address);

/*
 * The parts of a name of V8's, "LazyCompile:*function file:line:column": where
 * the function's and the file's begin and how long they are. False: it isn't
 * one of a function of JavaScript's.
 */
struct rqs_script_name {
	const char *function, *file;
	size_t function_length, file_length;
	uint32_t line;
};
bool rqs_script_name(const char *name, struct rqs_script_name *parts);

#endif
