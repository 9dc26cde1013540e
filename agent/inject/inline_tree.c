/* inline_tree.c - reads the inline trees of all functions. */
#include "inject/inline_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_MAX 100000
#define STEPS_LIMIT (1u << 27)

struct reader {
	const struct rqs_go_table *table;
	uint64_t steps; /* that may still be taken: a hostile file leads to one long table from everywhere */
};

/* Of runtime.inlinedCall, 20 bytes before Go 1.20: offset of the name, of the call's place, of the function's kind. */
struct layout {
	uint8_t size, name, parent, id;
};

static struct layout layout_of(const struct rqs_go_table *table)
{
	return table->before_120 ? (struct layout){20, 12, 16, 2} : (struct layout){16, 4, 8, 0};
}

bool rqs_inline_node(const struct rqs_go_table *table, uint32_t tree, uint32_t index, struct rqs_inline_node *node)
{
	struct layout layout = layout_of(table);

	if (!table->funcdata || index > INDEX_MAX)
		return false;
	const uint8_t *bytes =
	    rqs_image_at(table->image, table->funcdata + tree + (uint64_t)index * layout.size, layout.size);
	if (!bytes)
		return false;
	node->name = rqs_go_table_name(table, rqs_load32(bytes + layout.name));
	node->parent = rqs_load32(bytes + layout.parent);
	node->id = bytes[layout.id];
	return node->name && *node->name;
}

/*
 * How many nodes a tree has, by the highest index in the table that gives one
 * for every instruction; false where that is damaged.
 */
static bool count_nodes(struct reader *reader, uint32_t offset, uint32_t *nodes)
{
	struct rqs_go_values values;
	int32_t highest = -1;

	if (!rqs_go_values_begin(&values, reader->table, offset, 0))
		return false;
	while (rqs_go_values_next(&values)) {
		if (!reader->steps-- || values.value < -1 || values.value > INDEX_MAX)
			return false;
		highest = values.value > highest ? values.value : highest;
	}
	*nodes = (uint32_t)(highest + 1);
	return rqs_go_values_whole(&values);
}

/* Finds a function's tree: its nodes, none where nothing was inlined. False where that can't be told. */
static bool find_tree(struct reader *reader, const struct rqs_go_function *function, uint32_t *tree, uint32_t *nodes)
{
	struct rqs_go_record record;

	*nodes = 0;
	if (!rqs_go_table_record(reader->table, function, &record))
		return false;
	*tree = record.inline_tree;
	return !record.has_inline_tree || count_nodes(reader, record.inlined, nodes);
}

static int add(struct rqs_inline_tree *tree, const char *callee, const struct rqs_go_function *host)
{
	if (tree->count % 16 == 0) {
		void *more = realloc(tree->entries, (tree->count + 16) * sizeof(*tree->entries));

		if (!more)
			return -ENOMEM;
		tree->entries = more;
	}
	tree->entries[tree->count++] = (struct rqs_inlined){callee, *host};
	return 0;
}

static int read_function(struct rqs_inline_tree *tree, struct reader *reader, const struct rqs_go_function *function,
			 bool (*wanted)(const char *name))
{
	struct rqs_inline_node node;
	uint32_t at, nodes;

	if (!find_tree(reader, function, &at, &nodes) || nodes > reader->steps)
		return -EINVAL;
	reader->steps -= nodes;
	for (uint32_t i = 0; i < nodes; i++) {
		if (!rqs_inline_node(reader->table, at, i, &node) || node.parent >= function->end - function->start)
			return -EINVAL;
		if (wanted(node.name) && add(tree, node.name, function))
			return -ENOMEM;
	}
	return 0;
}

int rqs_inline_tree_read(struct rqs_inline_tree *tree, const struct rqs_go_table *table,
			 bool (*wanted)(const char *name))
{
	struct reader reader = {.table = table, .steps = STEPS_LIMIT};
	struct rqs_go_function function;
	int error = 0;

	memset(tree, 0, sizeof(*tree));
	if (!table->funcdata || !rqs_image_holds(table->image, table->funcdata, 1))
		return -EINVAL;
	for (uint64_t i = 0; i < table->count && !error; i++)
		error = rqs_go_table_function(table, i, &function) ? read_function(tree, &reader, &function, wanted)
								   : -EINVAL;
	return error;
}

void rqs_inline_tree_free(struct rqs_inline_tree *tree)
{
	free(tree->entries);
	memset(tree, 0, sizeof(*tree));
}

const char *rqs_inlined_into(const struct rqs_inline_tree *tree, const char *callee)
{
	for (size_t i = 0; i < tree->count; i++)
		if (!strcmp(tree->entries[i].callee, callee))
			return tree->entries[i].host.name;
	return NULL;
}
