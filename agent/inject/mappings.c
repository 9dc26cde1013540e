/* mappings.c - see mappings.h. */
#include "inject/mappings.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LINE 4352u /* bytes of one that are looked at: its numbers, and of its path as much as there is room for */

/* By hand, as the process may be stopped meanwhile: scanf takes ten times as long. */
static uint64_t number(const char **at, unsigned base)
{
	uint64_t value = 0;

	for (;; ++*at) {
		unsigned digit = (unsigned char)**at;

		if (digit >= 'a')
			digit = digit - 'a' + 10;
		else
			digit = digit <= '9' ? digit - '0' : base;
		if (digit >= base)
			return value;
		value = value * base + digit;
	}
}

static const char *behind(const char *at, char what)
{
	while (*at && *at != what)
		at++;
	return *at ? at + 1 : at;
}

/* "START-END rwxp OFFSET MAJOR:MINOR INODE  PATH" */
static void read_line(const char *line, struct rqs_mapping *mapping)
{
	const char *at = line;

	mapping->start = number(&at, 16);
	at = behind(at, '-');
	mapping->end = number(&at, 16);
	at = behind(at, ' ');
	mapping->readable = at[0] == 'r';
	mapping->writable = at[0] && at[1] == 'w';
	mapping->executable = at[0] && at[1] && at[2] == 'x';
	at = behind(at, ' ');
	mapping->offset = number(&at, 16);
	at = behind(at, ' ');
	uint64_t major = number(&at, 16);
	at = behind(at, ':');
	mapping->device = makedev(major, number(&at, 16));
	at = behind(at, ' ');
	mapping->inode = number(&at, 10);
	at += strspn(at, " ");
	size_t size = strlen(at);
	if (size >= sizeof(mapping->path))
		size = sizeof(mapping->path) - 1;
	memcpy(mapping->path, at, size);
	mapping->path[size] = '\0';
}

/* The kernel tells whole lines at a time. What is left of the last one is kept for the next. */
static bool see_lines(char *text, size_t *size, bool (*see)(const struct rqs_mapping *, void *), void *context)
{
	struct rqs_mapping mapping;
	char *line = text, *end;
	bool stopped = false;

	while (!stopped && (end = memchr(line, '\n', *size - (size_t)(line - text)))) {
		*end = '\0';
		read_line(line, &mapping);
		stopped = see(&mapping, context);
		line = end + 1;
	}
	*size -= (size_t)(line - text);
	memmove(text, line, *size);
	return stopped;
}

bool rqs_each_mapping_in(int maps, bool (*see)(const struct rqs_mapping *mapping, void *context), void *context)
{
	char text[2 * LINE];
	size_t size = 0;
	ssize_t got;
	bool stopped = false;

	while (!stopped && (got = read(maps, text + size, sizeof(text) - size)) > 0) {
		size += (size_t)got;
		stopped = see_lines(text, &size, see, context);
		if (size > LINE) /* a path that is longer than there is room for: its rest is dropped */
			size = LINE;
	}
	return stopped;
}

bool rqs_each_mapping(pid_t pid, bool (*see)(const struct rqs_mapping *mapping, void *context), void *context)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	int maps = open(path, O_RDONLY | O_CLOEXEC);
	if (maps < 0)
		return false;
	bool stopped = rqs_each_mapping_in(maps, see, context);
	close(maps);
	return stopped;
}
