/*
 * executable.h - what an ELF file tells of the program in it, before it is
 * executed. Runs maybe in a vfork child: system calls alone, nothing written
 * but the own stack, whatever the file holds. Freestanding.
 */
#ifndef REQSCOPE_EXECUTABLE_H
#define REQSCOPE_EXECUTABLE_H

#include <elf.h>
#include <linux/limits.h> /* PATH_MAX: clang's limits.h has none in freestanding code */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rqs_executable {
	bool has_loader;
	bool needs_libraries;
	bool is_go;
	Elf64_Phdr loader; /* the segment with its path, where it has one */
};

/* The regular file at path, CLOEXEC; -1: there is none that can be read. */
int rqs_executable_open(const char *path);
/* n bytes from offset on; false: they aren't there. */
bool rqs_executable_read(int fd, void *to, size_t n, uint64_t offset);

/* Looks at the segments of a 64-bit ELF file. False: they are damaged. */
bool rqs_executable_look(int fd, const Elf64_Ehdr *elf, struct rqs_executable *traits);

/* Is it a program for this machine by Go alone, without shared libraries? */
bool rqs_executable_is_static_go(const char *path);

/*
 * By what name another process may execute the program: path itself, or in
 * `room` what a path below /proc stands for, which means something else there;
 * NULL: it has none.
 */
const char *rqs_executable_lasting_name(const char *path, char room[PATH_MAX]);

/* Is this process traced? Whoever does so waits for the program's own exec, and no other's. */
bool rqs_executable_is_traced(void);

#endif
