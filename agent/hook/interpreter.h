/*
 * interpreter.h - which C library a program is going to run on, told from its file.
 *
 * Runs before an exec, maybe in a vfork child: system calls alone, nothing
 * written but the own stack (some 6 KiB of it), whatever the file holds.
 */
#ifndef REQSCOPE_INTERPRETER_H
#define REQSCOPE_INTERPRETER_H

#include <features.h>
#include <limits.h>

enum rqs_interpreter {
	RQS_INTERPRETER_UNKNOWN, /* not there, not readable, or none of the formats known here */
	RQS_INTERPRETER_GLIBC,
	RQS_INTERPRETER_MUSL,
	RQS_INTERPRETER_STATIC,    /* none: nothing is preloaded */
	RQS_INTERPRETER_STATIC_GO, /* likewise, or nothing of use: Go without a C library */
	RQS_INTERPRETER_OTHER,     /* another machine's, or another C library */
};

/* The C library that this code itself is built for. */
#ifdef __GLIBC__
#define RQS_INTERPRETER_OWN RQS_INTERPRETER_GLIBC
#else
#define RQS_INTERPRETER_OWN RQS_INTERPRETER_MUSL
#endif

/* Of the file at path; of a script, the one that its "#!" line leads to. */
enum rqs_interpreter rqs_interpreter_of(const char *path);

/* Of the program that execvp finds for a name, with that PATH (NULL: none is set); its path goes to `path`. */
enum rqs_interpreter rqs_interpreter_of_command(const char *name, const char *folders, char path[PATH_MAX]);

/* Of the file that fexecve runs. */
enum rqs_interpreter rqs_interpreter_of_descriptor(int fd);

/* The number in decimal, at least 0. */
#define RQS_DESCRIPTOR_NUMBER 16
void rqs_interpreter_print_descriptor(char number[RQS_DESCRIPTOR_NUMBER], int fd);

#endif
