/* placed.c - see placed.h. */
#include "inject/placed.h"

#include "inject/mappings.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What isn't written to has no relocations. */
static bool has_segment(int memory, uint64_t address, const uint8_t *expected, uint64_t size)
{
	uint8_t bytes[RQS_PAGE];

	for (uint64_t at = 0; at < size; at += RQS_PAGE) {
		size_t n = size - at < RQS_PAGE ? size - at : RQS_PAGE;

		if (pread(memory, bytes, n, (off_t)(address + at)) != (ssize_t)n || memcmp(bytes, expected + at, n))
			return false;
	}
	return true;
}

static bool begins_at(int memory, uint64_t address, const struct rqs_loadable *payload)
{
	for (size_t i = 0; i < payload->segment_count; i++) {
		uint64_t offset = payload->segments[i].offset;

		if (!(payload->segments[i].protection & PROT_WRITE) &&
		    !has_segment(memory, address + offset, payload->bytes + offset, payload->segments[i].filled))
			return false;
	}
	return true;
}

struct search {
	int memory;
	const struct rqs_loadable *payload;
	uint64_t found;
};

static bool is_placed(const struct rqs_mapping *mapping, void *context)
{
	struct search *search = context;
	const struct rqs_loadable *payload = search->payload;

	if (mapping->inode || !mapping->readable || mapping->end - mapping->start < payload->segments[0].size ||
	    !begins_at(search->memory, mapping->start, payload))
		return false;
	search->found = mapping->start;
	return true;
}

uint64_t rqs_placed_find(pid_t pid, int memory, const struct rqs_loadable *payload)
{
	struct search search = {.memory = memory, .payload = payload};

	rqs_each_mapping(pid, is_placed, &search);
	return search.found;
}
