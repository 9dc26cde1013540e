/*
 * site_live.h - followed samples by their process and number, until both
 * their rows were seen: which of the two comes first isn't said.
 */
#ifndef REQSCOPE_SITE_LIVE_H
#define REQSCOPE_SITE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#define RQS_SITE_LIVE_MAX (1u << 19)

enum rqs_site_live_state {
	RQS_LIVE_NONE, /* an empty slot */
	RQS_LIVE_ALLOCATED,
	RQS_LIVE_LEFT_OUT, /* allocated outside of the window */
	RQS_LIVE_FREED,    /* by what is known so far: its allocation is yet to come, or it ended after the parts */
	RQS_LIVE_WITHDRAWN, /* its allocation is yet to come */
};

struct rqs_site_live_entry {
	uint64_t number;
	uint64_t bytes, mean;
	uint64_t allocated, freed; /* ns */
	uint32_t site;             /* UINT32_MAX: the allocation is yet to come */
	uint16_t process;
	uint8_t state;
	uint8_t part; /* of the recording, in which it was allocated */
};

/* A zeroed one is empty. */
struct rqs_site_live {
	struct rqs_site_live_entry *entry; /* size of them, open addressing */
	uint32_t size, used;
};

/* NULL: there is none, or `add` and there are too many. A new one has the state RQS_LIVE_NONE, which is to be set. */
struct rqs_site_live_entry *rqs_site_live_find(struct rqs_site_live *l, uint16_t process, uint64_t number, bool add);
void rqs_site_live_remove(struct rqs_site_live *l, struct rqs_site_live_entry *e);
void rqs_site_live_free(struct rqs_site_live *l);

#endif
