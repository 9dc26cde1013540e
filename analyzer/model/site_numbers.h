/*
 * site_numbers.h - what the numbers of a trace's stacks frames stand for.
 *
 * Hostile ones are harmless: a stack's caller that isn't known, or isn't below
 * it, is none; a frame that isn't known is one that says so.
 */
#ifndef REQSCOPE_SITE_NUMBERS_H
#define REQSCOPE_SITE_NUMBERS_H

#include "model/alloc_sites.h"

#include <cjson/cJSON.h>

/* A zeroed one is empty. */
struct rqs_numbers {
	unsigned ranges, count;
	struct rqs_number_range {
		uint64_t first;
		uint32_t count, at;
	} * range; /* by first */
	uint32_t *what;
};

struct rqs_site_numbers {
	struct rqs_numbers frames, stacks;
};

/* Takes a stacks frame. */
void rqs_site_numbers_add(struct rqs_site_numbers *n, struct rqs_alloc_sites *sites, const cJSON *object);
/* 0, the empty stack, where it isn't known. */
uint32_t rqs_site_numbers_stack(const struct rqs_site_numbers *n, uint64_t number);
/* As stacks frames have it. */
const char *rqs_frame_kind_name(enum rqs_frame_name_kind kind);
void rqs_site_numbers_free(struct rqs_site_numbers *n);

#endif
