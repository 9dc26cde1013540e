/*
 * unite.h - one trace of many: of several hosts at the same time, or of
 * recordings one after another.
 *
 * A request of an input is a request of the outcome, with the same values; so
 * all distributions are those of one pass over the inputs, bit for bit,
 * whatever their order. Memory doesn't grow with the traces' length.
 */
#ifndef REQSCOPE_UNITE_H
#define REQSCOPE_UNITE_H

#include "merge/inputs.h"

/*
 * Writes the united trace to a descriptor, which it takes. No input is fatal.
 * It gets an end frame when each input is whole. NULL, or what went wrong, to
 * be freed.
 */
char *rqs_unite(struct rqs_inputs *inputs, int fd);

#endif
