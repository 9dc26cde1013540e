/*
 * unite_stacks.h - the stacks of all traces in one table: those that are the
 * same get one number. Memory by code, not by the traces' length.
 */
#ifndef REQSCOPE_UNITE_STACKS_H
#define REQSCOPE_UNITE_STACKS_H

#include "collect/writer.h"
#include "merge/inputs.h"
#include "model/alloc_sites.h"
#include "model/site_numbers.h"

struct rqs_unite_stacks {
	struct rqs_inputs *inputs;
	struct rqs_alloc_sites table;     /* its frames and stacks */
	struct rqs_site_numbers *numbers; /* what each input's stand for in the table */
};

void rqs_unite_stacks_start(struct rqs_unite_stacks *u, struct rqs_inputs *inputs);
void rqs_unite_stacks_free(struct rqs_unite_stacks *u);
/* Takes a stacks frame of an input. */
void rqs_unite_stacks_take(struct rqs_unite_stacks *u, const struct rqs_input *in, const cJSON *object);
/* All are taken: writes them. 0 or -errno. */
int rqs_unite_stacks_write(const struct rqs_unite_stacks *u, struct rqs_writer *writer, uint64_t time);
/* The number of an input's stack in the table; 0 when it isn't known. */
uint64_t rqs_unite_stacks_number(const struct rqs_unite_stacks *u, const struct rqs_input *in, uint64_t stack);

#endif
