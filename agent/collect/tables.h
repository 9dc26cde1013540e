/*
 * tables.h - adds up what the goroutines of a Go process have allocated, from
 * the table that the process keeps in the region.
 *
 * A table is 256 MiB of address space, most of it never touched: it is mapped
 * when first read, and only its pages that hold data are looked at.
 */
#ifndef COLLECT_TABLES_H
#define COLLECT_TABLES_H

#include "collect/mapping.h"

#include <stdbool.h>

struct rqs_table_view {
	uint64_t number;               /* the table's index + 1 as the process said, 0 none: not yet checked */
	const struct rqs_table *table; /* NULL: not mapped */
	bool known;                    /* the last reading succeeded */
	uint64_t alloc_bytes;          /* as that had it */
	uint64_t alloc_count;
};

/* Reads the table that the process in `slot` names, if it is that process's. O(pages that it touched). */
void rqs_table_read(struct rqs_table_view *view, const struct rqs_region *region, uint32_t slot);

/* Lets go of the mapping; what was read stays. */
void rqs_table_unmap(struct rqs_table_view *view);

#endif
