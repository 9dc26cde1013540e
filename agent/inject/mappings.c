/* mappings.c - see mappings.h. */
#include "inject/mappings.h"

#include <inttypes.h>
#include <stdio.h>

bool rqs_each_mapping(pid_t pid, bool (*see)(const struct rqs_mapping *mapping, void *context), void *context)
{
	struct rqs_mapping mapping;
	char path[64], line[sizeof(mapping.path) + 128], rights[8];
	bool stopped = false;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *maps = fopen(path, "re");
	while (maps && !stopped && fgets(line, sizeof(line), maps)) {
		mapping.path[0] = '\0';
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %" SCNu64 " %4095[^\n]", &mapping.start,
			   &mapping.end, rights, &mapping.offset, &mapping.inode, mapping.path) < 5)
			continue;
		mapping.readable = rights[0] == 'r';
		mapping.executable = rights[2] == 'x';
		stopped = see(&mapping, context);
	}
	if (maps)
		fclose(maps);
	return stopped;
}
