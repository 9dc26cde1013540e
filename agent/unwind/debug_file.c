/* debug_file.c - see debug_file.h. Names and order as gdb's manual has them ("Separate Debug Files"). */
#include "unwind/debug_file.h"

#include "unwind/modules.h"

#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHECKED_LIMIT (2ull << 30) /* bytes of a file whose checksum is looked at */

struct wanted {
	const uint8_t *id; /* build-id */
	size_t id_size;
	const char *link; /* a file's name, NULL none */
	GElf_Word checksum;
};

/* As zlib's crc32(), by which links are checked. */
static uint32_t checksum_of(int fd)
{
	uint32_t table[256], sum = UINT32_MAX;
	uint8_t bytes[16384];
	ssize_t got;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (unsigned bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
	}
	for (uint64_t at = 0; at < CHECKED_LIMIT && (got = pread(fd, bytes, sizeof(bytes), (off_t)at)) > 0;
	     at += (uint64_t)got)
		for (ssize_t i = 0; i < got; i++)
			sum = sum >> 8 ^ table[(sum ^ bytes[i]) & 0xff];
	return ~sum;
}

static bool belongs(int fd, const struct wanted *wanted, bool by_link)
{
	const void *id = NULL;
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	ssize_t size = elf && elf_kind(elf) == ELF_K_ELF ? dwelf_elf_gnu_build_id(elf, &id) : -1;
	bool same = size > 0 && (size_t)size == wanted->id_size && !memcmp(id, wanted->id, wanted->id_size);

	elf_end(elf);
	if (by_link && !same && (size <= 0 || !wanted->id_size))
		return checksum_of(fd) == wanted->checksum;
	return same;
}

static int open_if_wanted(int root, const char *path, const struct wanted *wanted, bool by_link)
{
	int fd = rqs_open_below(root, path);

	if (fd >= 0 && !belongs(fd, wanted, by_link)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int by_id(int root, const struct wanted *wanted)
{
	char path[64 + 2 * 64];
	int n = snprintf(path, sizeof(path), "/usr/lib/debug/.build-id/%02x/", wanted->id[0]);

	for (size_t i = 1; i < wanted->id_size; i++)
		n += snprintf(path + n, sizeof(path) - (size_t)n, "%02x", wanted->id[i]);
	strcpy(path + n, ".debug");
	return open_if_wanted(root, path, wanted, false);
}

static int by_link(int root, const struct wanted *wanted, const char *path)
{
	static const char *const where[][2] = {{"", "/"}, {"", "/.debug/"}, {"/usr/lib/debug", "/"}};
	const char *slash = strrchr(path, '/');
	char tried[PATH_MAX];
	int fd = -1;

	for (size_t i = 0; slash && fd < 0 && i < sizeof(where) / sizeof(*where); i++) {
		int n = snprintf(tried, sizeof(tried), "%s%.*s%s%s", where[i][0], (int)(slash - path), path,
				 where[i][1], wanted->link);

		if (n < (int)sizeof(tried) && strcmp(tried, path) != 0)
			fd = open_if_wanted(root, tried, wanted, true);
	}
	return fd;
}

int rqs_debug_file_open(Elf *elf, int root, const char *path)
{
	const void *id = NULL;
	ssize_t size = dwelf_elf_gnu_build_id(elf, &id);
	int ours = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), roots[] = {root, ours}, fd = -1;
	struct wanted wanted = {.id = id, .id_size = size > 0 && size <= 64 ? (size_t)size : 0};

	wanted.link = dwelf_elf_gnu_debuglink(elf, &wanted.checksum);
	if (wanted.link && strchr(wanted.link, '/'))
		wanted.link = NULL;
	for (unsigned i = 0; i < 2 && fd < 0; i++) {
		if (wanted.id_size > 1)
			fd = by_id(roots[i], &wanted);
		if (fd < 0 && wanted.link)
			fd = by_link(roots[i], &wanted, path);
	}
	if (ours >= 0)
		close(ours);
	return fd;
}
