/*
 * mapping.h - the collector's side of the shared region: it makes the memfd,
 * lays it out and hands out pieces of the mapping. The layout itself is the
 * contract in include/reqscope/region.h.
 */
#ifndef COLLECT_MAPPING_H
#define COLLECT_MAPPING_H

#include "reqscope/region.h"

struct rqs_region {
	int fd;        /* the memfd; handed to greeting processes */
	uint64_t size; /* of what is mapped: all but the tables of goroutines, which lie behind it in the file */
	uint64_t tables_offset; /* as in the header, which others can write to */
	struct rqs_region_header *header;
	struct rqs_process *processes;
	struct rqs_thread *threads;
	uint64_t *owners;
	uint64_t *table_owners;
	unsigned char *chunks;
};

/*
 * Makes and maps a new region, all zero but for the header. 0, or -errno with
 * nothing left open. Where no file may be as long as the tables make it, there
 * are none: tables_offset is 0. (SIGXFSZ must be ignored.)
 */
int rqs_region_create(struct rqs_region *region);

/* Unmaps and closes. Processes that have it mapped keep their mapping. */
void rqs_region_destroy(struct rqs_region *region);

static inline struct rqs_chunk_header *rqs_chunk_at(const struct rqs_region *region, uint32_t chunk)
{
	return (struct rqs_chunk_header *)(region->chunks + (size_t)chunk * RQS_CHUNK_SIZE);
}

static inline struct rqs_slot *rqs_slots_of(const struct rqs_region *region, uint32_t chunk)
{
	return (struct rqs_slot *)(rqs_chunk_at(region, chunk) + 1);
}

/* Where a table of goroutines begins in the file. */
static inline uint64_t rqs_table_offset(const struct rqs_region *region, uint32_t table)
{
	return region->tables_offset + table * sizeof(struct rqs_table);
}

/* The process slot that an owner word of a thread, chunk or table names; RQS_PROCESSES or more is nonsense. */
static inline uint32_t rqs_owner_process(uint64_t owner)
{
	return (uint32_t)(owner >> 32) - 1;
}

/*
 * Frees what was read whole. What the next claimer relies on being zero is
 * zeroed before the owner word, which is the last store.
 */
void rqs_region_free_chunk(struct rqs_region *region, uint32_t chunk);
void rqs_region_free_thread(struct rqs_region *region, uint32_t thread);
/* With it, the tables that name it as their owner: its own, and one that it claimed and was killed before using. */
void rqs_region_free_process(struct rqs_region *region, uint32_t slot);

#endif
