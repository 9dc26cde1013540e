/*
 * site_load.h - the sampled allocations of one trace on their way into its
 * struct rqs_alloc_sites: stacks by number, and what is still live.
 *
 * Memory: by stacks, and by followed samples that are live; both are bounded.
 */
#ifndef REQSCOPE_SITE_LOAD_H
#define REQSCOPE_SITE_LOAD_H

#include "model/alloc_sites.h"
#include "read/scan.h"

struct rqs_site_load;

/* Allocations in [from, to) count; the parts are those of [first, end). All ns on the trace's clock. */
struct rqs_site_load *rqs_site_load_new(struct rqs_alloc_sites *sites, uint64_t from, uint64_t to, uint64_t first,
					uint64_t end);
/* A stacks frame. */
void rqs_site_load_stacks(struct rqs_site_load *l, const cJSON *object);
/* Rows of a sites frame; row[]: of the routes, by the frame's route index. */
void rqs_site_load_rows(struct rqs_site_load *l, uint64_t first_time, const struct rqs_block *block,
			const unsigned *row);
/* A request of the window, and when it ended. */
void rqs_site_load_request(struct rqs_site_load *l, unsigned row, uint64_t end);
/*
 * All was read; the last request of the window ended at `last`. Routes were all made one, `folded`, if that isn't
 * UINT32_MAX. Frees the load.
 */
void rqs_site_load_end(struct rqs_site_load *l, uint64_t last, uint32_t folded);

#endif
