/* program.c - looks at executables. */
#include "cmd/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENTS_MAX 64
#define DEFAULT_PATH "/bin:/usr/bin"

static int check_file(const char *path)
{
	struct stat stat_;

	if (stat(path, &stat_))
		return -errno;
	if (!S_ISREG(stat_.st_mode) || access(path, X_OK))
		return -EACCES;
	return 0;
}

int rqs_program_find(const char *name, char *path, size_t size)
{
	const char *folders = getenv("PATH");
	int error = -ENOENT;

	if (strchr(name, '/')) {
		if ((size_t)snprintf(path, size, "%s", name) >= size)
			return -ENAMETOOLONG;
		return check_file(path);
	}
	for (const char *at = folders ? folders : DEFAULT_PATH; *name;) {
		size_t length = strcspn(at, ":");
		int printed = snprintf(path, size, "%.*s%s%s", (int)length, at, length ? "/" : "./", name);

		if ((size_t)printed < size) {
			int found = check_file(path);

			if (!found)
				return 0;
			if (found == -EACCES)
				error = found;
		}
		if (!at[length])
			break;
		at += length + 1;
	}
	return error;
}

static enum rqs_program_kind kind_of_elf(int fd, const Elf64_Ehdr *elf)
{
	Elf64_Phdr segments[SEGMENTS_MAX];
	unsigned count = elf->e_phnum < SEGMENTS_MAX ? elf->e_phnum : SEGMENTS_MAX;
	char interpreter[PATH_MAX];

	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != EM_X86_64)
		return PROGRAM_OTHER_MACHINE;
	if (elf->e_phentsize != sizeof(segments[0]) ||
	    pread(fd, segments, count * sizeof(segments[0]), (off_t)elf->e_phoff) !=
		(ssize_t)(count * sizeof(segments[0])))
		return PROGRAM_DYNAMIC;
	for (unsigned i = 0; i < count; i++) {
		if (segments[i].p_type != PT_INTERP)
			continue;
		ssize_t got = pread(fd, interpreter, sizeof(interpreter) - 1, (off_t)segments[i].p_offset);

		interpreter[got > 0 ? got : 0] = 0;
		return strstr(interpreter, "/ld-musl") ? PROGRAM_MUSL : PROGRAM_DYNAMIC;
	}
	return PROGRAM_STATIC;
}

/* The interpreter of "#!/usr/bin/env python3" is python3, of "#!/bin/sh -e" /bin/sh. */
static bool find_interpreter(char *line, char *path, size_t size)
{
	char *rest = line + 2, *word = strsep(&rest, "\n");
	char *first = strtok_r(word, " \t", &rest), *second = strtok_r(NULL, " \t", &rest);
	const char *base = first ? strrchr(first, '/') : NULL;

	if (!first)
		return false;
	if (base && !strcmp(base, "/env") && second && *second != '-')
		first = second;
	return !rqs_program_find(first, path, size);
}

bool rqs_program_interpreter(const char *path, char *interpreter, size_t size)
{
	char text[256] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return false;
	ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	return got > 2 && !memcmp(text, "#!", 2) && find_interpreter(text, interpreter, size);
}

static enum rqs_program_kind kind_at_depth(const char *path, int depth)
{
	union {
		Elf64_Ehdr elf;
		char text[256];
	} head;
	char interpreter[PATH_MAX];
	struct stat stat_;
	enum rqs_program_kind kind = PROGRAM_DYNAMIC;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return kind;
	memset(&head, 0, sizeof(head));
	ssize_t got = pread(fd, &head, sizeof(head) - 1, 0);
	if (got >= (ssize_t)sizeof(head.elf) && !memcmp(head.elf.e_ident, ELFMAG, SELFMAG))
		kind = kind_of_elf(fd, &head.elf);
	if (!fstat(fd, &stat_) && (stat_.st_mode & S_ISUID) && stat_.st_uid != geteuid())
		kind = PROGRAM_SETUID;
	close(fd);
	if (got > 2 && depth < 4 && !memcmp(head.text, "#!", 2) &&
	    find_interpreter(head.text, interpreter, sizeof(interpreter)))
		return kind_at_depth(interpreter, depth + 1);
	return kind;
}

enum rqs_program_kind rqs_program_kind(const char *path)
{
	return kind_at_depth(path, 0);
}

const char *rqs_program_obstacle(enum rqs_program_kind kind)
{
	switch (kind) {
	case PROGRAM_STATIC:
		return "is statically linked, and not written in Go: not recorded";
	case PROGRAM_MUSL:
		return "uses the musl C library, for which this build has no agent: not recorded";
	case PROGRAM_OTHER_MACHINE:
		return "is not an x86-64 program: not recorded";
	case PROGRAM_SETUID:
		return "is set-user-ID, and its loader ignores LD_PRELOAD: not recorded";
	default:
		return NULL;
	}
}
