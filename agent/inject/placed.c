/* placed.c - see placed.h. */
#include "inject/placed.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Its first segment has no relocations, and all that differs between builds moves something in there. */
static bool begins_at(int memory, uint64_t address, const struct rqs_loadable *payload)
{
	uint8_t bytes[RQS_PAGE];
	uint64_t size = payload->segments[0].filled;

	for (uint64_t at = 0; at < size; at += RQS_PAGE) {
		size_t n = size - at < RQS_PAGE ? size - at : RQS_PAGE;

		if (pread(memory, bytes, n, (off_t)(address + at)) != (ssize_t)n || memcmp(bytes, payload->bytes + at, n))
			return false;
	}
	return true;
}

uint64_t rqs_placed_find(pid_t pid, int memory, const struct rqs_loadable *payload)
{
	uint64_t start, end, offset, inode, found = 0;
	char path[64], line[512], rights[8];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %" SCNu64, &start, &end, rights, &offset,
			   &inode) == 5 &&
		    inode == 0 && rights[0] == 'r' && end - start >= payload->segments[0].size &&
		    begins_at(memory, start, payload))
			found = start;
	if (file)
		fclose(file);
	return found;
}
