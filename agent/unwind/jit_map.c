/* jit_map.c - see jit_map.h. */
#include "unwind/jit_map.h"

#include "inject/room.h"
#include "unwind/modules.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SIZE_LIMIT (64u << 20)
#define AGAIN_NS 500000000ull /* between two readings */
#define STATUS 4096u

struct line {
	uint64_t start, size;
	uint32_t order, name; /* of the lines; where the name is in the text */
};

struct rqs_jit_map {
	int root;
	char path[64];
	uint64_t read_ns;
	off_t size; /* of the file, when it was read */
	char *text;
	struct line *lines;
	size_t count, room;
};

/* ---- reading ---- */

/* As the process itself sees its number. */
static unsigned long own_pid(int procdir)
{
	char text[STATUS] = "";
	int fd = procdir >= 0 ? openat(procdir, "status", O_RDONLY | O_CLOEXEC) : -1;
	unsigned long pid = 0;

	if (fd < 0)
		return 0;
	ssize_t got = read(fd, text, sizeof(text) - 1);
	close(fd);
	char *at = got > 0 ? strstr(text, "\nNSpid:") : NULL, *end;
	for (at = at ? at + 7 : NULL; at && *at && *at != '\n'; at = end) {
		unsigned long next = strtoul(at, &end, 10);

		if (end == at)
			break;
		pid = next;
	}
	return pid;
}

/* "START SIZE NAME", the numbers hexadecimal. */
static bool add_line(struct rqs_jit_map *map, char *line)
{
	char *end;
	uint64_t start = strtoull(line, &end, 16), size = strtoull(end, &end, 16);

	if (*end != ' ' || !size)
		return true;
	if (!rqs_make_room((void **)&map->lines, &map->room, map->count, sizeof(*map->lines)))
		return false;
	map->lines[map->count] = (struct line){start, size, (uint32_t)map->count, (uint32_t)(end + 1 - map->text)};
	map->count++;
	return true;
}

/* Of what lies at one place the latest comes last. */
static int by_start(const void *a, const void *b)
{
	const struct line *first = a, *second = b;

	if (first->start != second->start)
		return first->start < second->start ? -1 : 1;
	return first->order < second->order ? -1 : first->order > second->order;
}

static void read_lines(struct rqs_jit_map *map, size_t size)
{
	map->text[size] = '\0';
	map->count = 0;
	for (char *line = map->text, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (!add_line(map, line))
			break;
	}
	if (map->count)
		qsort(map->lines, map->count, sizeof(*map->lines), by_start);
}

static void read_file(struct rqs_jit_map *map)
{
	struct stat status;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (map->read_ns && ns - map->read_ns < AGAIN_NS)
		return;
	map->read_ns = ns;
	int fd = map->path[0] ? rqs_open_below(map->root, map->path) : -1;
	if (fd < 0)
		return;
	if (!fstat(fd, &status) && status.st_size != map->size && status.st_size <= SIZE_LIMIT) {
		char *text = malloc((size_t)status.st_size + 1);
		ssize_t got = text ? pread(fd, text, (size_t)status.st_size, 0) : -1;

		if (got >= 0) {
			free(map->text);
			map->text = text;
			map->size = status.st_size;
			read_lines(map, (size_t)got);
		} else {
			free(text);
		}
	}
	close(fd);
}

/* ---- */

struct rqs_jit_map *rqs_jit_map_new(int procdir, int root)
{
	struct rqs_jit_map *map = calloc(1, sizeof(*map));
	unsigned long pid = own_pid(procdir);

	if (!map)
		return NULL;
	map->root = root;
	if (pid)
		snprintf(map->path, sizeof(map->path), "/tmp/perf-%lu.map", pid);
	return map;
}

void rqs_jit_map_free(struct rqs_jit_map *map)
{
	if (!map)
		return;
	free(map->text);
	free(map->lines);
	free(map);
}

const char *rqs_jit_map_name(struct rqs_jit_map *map, uint64_t address)
{
	size_t low = 0, high;

	read_file(map);
	high = map->count;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (map->lines[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	const struct line *line = low ? &map->lines[low - 1] : NULL;
	return line && address - line->start < line->size ? map->text + line->name : NULL;
}

static const char *behind_kind(const char *name)
{
	static const char *const kinds[] = {
	    "JS:", "LazyCompile:", "Function:", "Eval:", "Script:", "InterpretedFunction:"};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strncmp(name, kinds[i], strlen(kinds[i])))
			return name + strlen(kinds[i]);
	return NULL;
}

/* ":LINE" or ":LINE:COLUMN" at the end of a name; where it begins. */
static const char *numbers_of(const char *name, uint32_t *line)
{
	const char *end = name + strlen(name), *first = end;

	*line = 0;
	for (unsigned i = 0; i < 2; i++) {
		const char *at = first;

		while (at > name && isdigit((unsigned char)at[-1]))
			at--;
		if (at == first || at == name || at[-1] != ':')
			break;
		first = at - 1;
		*line = (uint32_t)strtoul(at, NULL, 10);
	}
	return first;
}

bool rqs_script_name(const char *name, struct rqs_script_name *parts)
{
	const char *at = behind_kind(name);

	if (!at)
		return false;
	at += strspn(at, "*~^+"); /* how it was compiled */
	const char *end = numbers_of(at, &parts->line), *space = strchr(at, ' ');
	if (!space || space >= end)
		space = end;
	parts->function = at;
	parts->function_length = (size_t)(space - at);
	parts->file = space < end ? space + 1 : NULL;
	parts->file_length = parts->file ? (size_t)(end - parts->file) : 0;
	return true;
}
