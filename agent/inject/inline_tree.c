/* inline_tree.c - reads the inline trees of all functions. */
#include "inject/inline_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PCDATA_INLINE_INDEX 2
#define FUNCDATA_INLINE_TREE 3
#define NO_FUNCDATA UINT32_MAX
#define INDEX_MAX 100000
#define STEPS_LIMIT (1u << 27)

/* moduledata.gofunc, from which function data is counted; Go 1.20 put two words before it. */
#define MODULE_FUNCDATA_118 (38 * 8)
#define MODULE_FUNCDATA_120 (40 * 8)

struct reader {
	const struct rqs_go_table *table;
	uint64_t funcdata; /* address */
	uint32_t record;   /* size of runtime._func's fixed part */
	uint32_t node;     /* size of runtime.inlinedCall */
	uint32_t name;     /* offset of the name's offset in it */
	uint32_t parent;   /* and of the call's */
	uint64_t steps;    /* that may still be taken: a hostile file leads to one long table from everywhere */
};

static bool start(struct reader *reader, const struct rqs_go_table *table)
{
	uint64_t member = table->before_120 ? MODULE_FUNCDATA_118 : MODULE_FUNCDATA_120;

	*reader = table->before_120 ? (struct reader){.record = 40, .node = 20, .name = 12, .parent = 16}
				    : (struct reader){.record = 44, .node = 16, .name = 4, .parent = 8};
	reader->table = table;
	reader->steps = STEPS_LIMIT;
	if (table->module)
		reader->funcdata = rqs_image_pointer(table->image, table->module + member);
	return reader->funcdata && rqs_image_holds(table->image, reader->funcdata, 1);
}

static bool take_varint(const uint8_t **at, const uint8_t *end, uint32_t *value)
{
	*value = 0;
	for (unsigned shift = 0; *at < end && shift < 35; shift += 7) {
		uint8_t byte = *(*at)++;

		*value |= (uint32_t)((uint64_t)(byte & 0x7f) << shift);
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

/*
 * How many nodes a tree has, by the highest index in the table that gives one
 * for every instruction; false where that is damaged.
 */
static bool count_nodes(struct reader *reader, uint32_t offset, uint64_t *nodes)
{
	const struct rqs_go_table *table = reader->table;
	const uint8_t *at = table->bytes + table->pcdata + offset;
	const uint8_t *end = table->bytes + table->pcdata + table->pcdata_size;
	int32_t index = -1, highest = -1;
	uint32_t step, distance;

	if (offset >= table->pcdata_size)
		return false;
	for (bool first = true; at < end && (first || *at); first = false) {
		if (!take_varint(&at, end, &step) || !take_varint(&at, end, &distance) || !reader->steps--)
			return false;
		/* Signed numbers are stored with the sign in the lowest bit. */
		index = (int32_t)((uint32_t)index + (-(step & 1) ^ (step >> 1)));
		if (index < -1 || index > INDEX_MAX)
			return false;
		highest = index > highest ? index : highest;
	}
	*nodes = (uint64_t)(highest + 1);
	return at < end;
}

/* Finds a function's tree: its nodes, none where nothing was inlined. False where that can't be told. */
static bool find_tree(struct reader *reader, const struct rqs_go_function *function, const uint8_t **tree,
		      uint64_t *nodes)
{
	uint32_t pcdata = rqs_load32(function->record + 28);
	uint8_t funcdata = function->record[reader->record - 1];
	uint64_t after = reader->record + 4ull * pcdata;

	*nodes = 0;
	if (pcdata <= PCDATA_INLINE_INDEX || funcdata <= FUNCDATA_INLINE_TREE)
		return true;
	if (after + 4ull * funcdata > function->record_left)
		return false;
	uint32_t index = rqs_load32(function->record + reader->record + 4 * PCDATA_INLINE_INDEX);
	uint32_t offset = rqs_load32(function->record + after + 4 * FUNCDATA_INLINE_TREE);
	if (!index || offset == NO_FUNCDATA)
		return true;
	if (!count_nodes(reader, index, nodes))
		return false;
	*tree = rqs_image_at(reader->table->image, reader->funcdata + offset, *nodes * reader->node);
	return *tree || !*nodes;
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
	const uint8_t *node;
	uint64_t nodes;

	if (!find_tree(reader, function, &node, &nodes) || nodes > reader->steps)
		return -EINVAL;
	reader->steps -= nodes;
	for (; nodes; nodes--, node += reader->node) {
		const char *callee = rqs_go_table_name(reader->table, rqs_load32(node + reader->name));

		if (!callee || !*callee || rqs_load32(node + reader->parent) >= function->end - function->start)
			return -EINVAL;
		if (wanted(callee) && add(tree, callee, function))
			return -ENOMEM;
	}
	return 0;
}

int rqs_inline_tree_read(struct rqs_inline_tree *tree, const struct rqs_go_table *table,
			 bool (*wanted)(const char *name))
{
	struct reader reader;
	struct rqs_go_function function;
	int error = 0;

	memset(tree, 0, sizeof(*tree));
	if (!start(&reader, table))
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
