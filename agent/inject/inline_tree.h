/*
 * inline_tree.h - which functions the compiler put into which others.
 *
 * The runtime needs it for tracebacks, so that it is there in stripped
 * programs too (FUNCDATA_InlTree).
 */
#ifndef REQSCOPE_INLINE_TREE_H
#define REQSCOPE_INLINE_TREE_H

#include "inject/go_table.h"

/* A call that was replaced by the callee's code. */
struct rqs_inline_node {
	const char *name; /* of the callee */
	uint32_t parent;  /* where the call would be, from the host function's start on: maybe in another node */
	uint8_t id;       /* the callee's, as in struct rqs_go_record */
};

/* One node of the tree of a record; false where it isn't there. */
bool rqs_inline_node(const struct rqs_go_table *table, uint32_t tree, uint32_t index, struct rqs_inline_node *node);

struct rqs_inlined {
	const char *callee;          /* of the table */
	struct rqs_go_function host; /* that has the copy */
};

struct rqs_inline_tree {
	struct rqs_inlined *entries; /* of the callees that were asked for */
	size_t count;
};

/*
 * Collects where the functions that `wanted` names were inlined. 0; -ENOMEM;
 * -EINVAL where the trees aren't there or can't be understood. To be freed in
 * any case.
 */
int rqs_inline_tree_read(struct rqs_inline_tree *tree, const struct rqs_go_table *table,
			 bool (*wanted)(const char *name));
void rqs_inline_tree_free(struct rqs_inline_tree *tree);

/* The first function that holds a copy of callee, NULL where none does. */
const char *rqs_inlined_into(const struct rqs_inline_tree *tree, const char *callee);

#endif
