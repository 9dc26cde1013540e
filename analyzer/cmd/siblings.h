/* siblings.h - the files that belong to one installation, found from the one that runs. */
#ifndef CMD_SIBLINGS_H
#define CMD_SIBLINGS_H

#include <limits.h>
#include <stdbool.h>

/* The agent, for programs with glibc and with musl. */
#define RQS_LIBRARY "libreqscope.so"
#define RQS_MUSL_LIBRARY "libreqscope-musl.so"

/* Absolute paths; "" where there is no such file. */
struct rqs_siblings {
	char program[PATH_MAX]; /* reqscope */
	char placer[PATH_MAX];  /* reqscope-place, which has the command `place` alone and needs no library; else
				   reqscope */
};

/* False: /proc isn't mounted, and nothing found. */
bool rqs_siblings_find(struct rqs_siblings *siblings);

/* A file of the installation: beside the program, as built, or in PREFIX/lib/reqscope beside PREFIX/bin. */
bool rqs_siblings_library(const char *name, char *path);

#endif
