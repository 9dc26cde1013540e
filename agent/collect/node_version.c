/*
 * node_version.c - the version of a Node.js executable.
 *
 * Every build carries the address of its source, .../node-vX.Y.Z.tar.gz.
 */
#include "collect/node_version.h"
#include "collect/procfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "/node-v"
#define MARK_LENGTH (sizeof(MARK) - 1)
#define TAIL 32u /* of a mark and the longest version, kept from one block to the next */
#define BLOCK (1u << 20)
#define FILE_MAX (512u << 20)
#define MAPS_MAX (1u << 20)

/* Copies "X.Y.Z" from the text; false when that isn't what stands there. */
static bool take_version(const char *text, size_t left, char *version, size_t size)
{
	size_t length = 0;
	int dots = 0;

	while (length < left && ((text[length] >= '0' && text[length] <= '9') || text[length] == '.')) {
		if (text[length] == '.' && (!length || text[length - 1] == '.' || ++dots == 3))
			break;
		length++;
	}
	if (dots < 2 || text[length - 1] == '.' || length >= size || length == left)
		return false;
	memcpy(version, text, length);
	version[length] = 0;
	return true;
}

static bool find_in(const char *text, size_t length, char *version, size_t size)
{
	const char *end = text + length, *mark;

	while ((mark = memmem(text, (size_t)(end - text), MARK, MARK_LENGTH))) {
		text = mark + MARK_LENGTH;
		if (take_version(text, (size_t)(end - text), version, size))
			return true;
	}
	return false;
}

bool rqs_node_version_in(int fd, char *version, size_t size)
{
	char *block = malloc(BLOCK);
	size_t kept = 0, total = 0;
	ssize_t got;
	bool found = false;

	while (block && !found && total < FILE_MAX && (got = read(fd, block + kept, BLOCK - kept)) > 0) {
		size_t length = kept + (size_t)got;

		total += (size_t)got;
		found = find_in(block, length, version, size);
		kept = length < TAIL ? length : TAIL;
		memmove(block, block + length - kept, kept);
	}
	free(block);
	return found;
}

/* The answer for the last file is kept: workers all run the same one. */
static bool look_in(int dir, const char *path, char *version, size_t size)
{
	static struct {
		dev_t device;
		ino_t inode;
		char version[32];
	} last;
	struct stat stat;
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return false;
	if (!fstat(fd, &stat) && S_ISREG(stat.st_mode) && (stat.st_dev != last.device || stat.st_ino != last.inode)) {
		last.device = stat.st_dev;
		last.inode = stat.st_ino;
		last.version[0] = 0;
		rqs_node_version_in(fd, last.version, sizeof(last.version));
	}
	close(fd);
	if (!last.version[0] || strlen(last.version) >= size)
		return false;
	strcpy(version, last.version);
	return true;
}

/* The path, as seen under /proc/PID, of a mapped libnode. */
static bool find_libnode(int dir, char *path, size_t size)
{
	char *maps = malloc(MAPS_MAX);
	bool found = false;

	if (maps && rqs_procfs_read(dir, "maps", maps, MAPS_MAX) > 0) {
		char *name = strstr(maps, "/libnode.so");

		while (name && name > maps && name[-1] != ' ' && name[-1] != '\n')
			name--;
		if (name && *name == '/')
			found = (size_t)snprintf(path, size, "root%.*s", (int)strcspn(name, "\n"), name) < size;
	}
	free(maps);
	return found;
}

bool rqs_node_version(int dir, char *version, size_t size)
{
	char path[1024];

	if (dir < 0)
		return false;
	return look_in(dir, "exe", version, size) ||
	       (find_libnode(dir, path, sizeof(path)) && look_in(dir, path, version, size));
}
