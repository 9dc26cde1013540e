/* program.h - finds a program as exec would, and tells whether a preloaded library can record it. */
#ifndef CMD_PROGRAM_H
#define CMD_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

enum rqs_program_kind {
	PROGRAM_DYNAMIC, /* or not known to be otherwise */
	PROGRAM_STATIC,
	PROGRAM_MUSL,
	PROGRAM_OTHER_MACHINE,
	PROGRAM_SETUID, /* its loader ignores LD_PRELOAD */
};

/* Finds what exec would run for `name`. 0 or -errno: ENOENT, EACCES. */
int rqs_program_find(const char *name, char *path, size_t size);

/* The program that the file's line "#!..." leads to, found as above. False: there is no such line, or no such program. */
bool rqs_program_interpreter(const char *path, char *interpreter, size_t size);

/* The kind of the program, or of the interpreter that runs it when it is a script. */
enum rqs_program_kind rqs_program_kind(const char *path);

/* Why a program of that kind isn't recorded, to follow its name; NULL for one that can be. */
const char *rqs_program_obstacle(enum rqs_program_kind kind);

#endif
