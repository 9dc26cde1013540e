/* inline_tree.c - reads the inline trees of all functions. */
#include "inject/inline_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PCDATA_INLINE_INDEX 2
#define FUNCDATA_INLINE_TREE 3
#define NO_FUNCDATA UINT32_MAX
#define INDEX_MAX 100000

/* moduledata.gofunc, from which function data is counted; Go 1.20 put two words before it. */
#define MODULE_FUNCDATA_118 (38 * 8)
#define MODULE_FUNCDATA_120 (40 * 8)

struct layout {
	uint64_t funcdata; /* address */
	uint32_t record;   /* size of runtime._func's fixed part */
	uint32_t node;     /* size of runtime.inlinedCall */
	uint32_t name;     /* offset of the name's offset in it */
	uint32_t parent;   /* and of the call's */
};

static bool take_layout(const struct rqs_go_table *table, struct layout *layout)
{
	uint64_t member = table->before_120 ? MODULE_FUNCDATA_118 : MODULE_FUNCDATA_120;

	*layout = table->before_120 ? (struct layout){.record = 40, .node = 20, .name = 12, .parent = 16}
				    : (struct layout){.record = 44, .node = 16, .name = 4, .parent = 8};
	if (table->module)
		layout->funcdata = rqs_image_pointer(table->image, table->module + member);
	return layout->funcdata && rqs_image_holds(table->image, layout->funcdata, 1);
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

/* The highest value of a table that gives one for every instruction; -1 where all have none, -2 where it is damaged. */
static int64_t highest_value(const struct rqs_go_table *table, uint32_t offset)
{
	const uint8_t *at = table->bytes + table->pcdata + offset;
	const uint8_t *end = table->bytes + table->pcdata + table->pcdata_size;
	int32_t value = -1;
	int64_t highest = -1;
	uint32_t step, distance;

	if (offset >= table->pcdata_size)
		return -2;
	for (bool first = true; at < end && (first || *at); first = false) {
		if (!take_varint(&at, end, &step) || !take_varint(&at, end, &distance))
			return -2;
		value = (int32_t)((uint32_t)value + (-(step & 1) ^ (step >> 1)));
		if (value < -1 || value > INDEX_MAX)
			return -2;
		highest = value > highest ? value : highest;
	}
	return at < end ? highest : -2;
}

/* A function's tree; NULL with *nodes 0 where nothing was inlined into it, with 1 where that can't be told. */
static const uint8_t *tree_of(const struct rqs_go_table *table, const struct layout *layout,
			      const struct rqs_go_function *function, uint64_t *nodes)
{
	uint32_t pcdata = rqs_load32(function->record + 28);
	uint8_t funcdata = function->record[layout->record - 1];
	uint64_t after = layout->record + 4ull * pcdata;

	*nodes = 0;
	if (pcdata <= PCDATA_INLINE_INDEX || funcdata <= FUNCDATA_INLINE_TREE)
		return NULL;
	*nodes = 1;
	if (after + 4ull * funcdata > function->record_left)
		return NULL;
	uint32_t index = rqs_load32(function->record + layout->record + 4 * PCDATA_INLINE_INDEX);
	uint32_t tree = rqs_load32(function->record + after + 4 * FUNCDATA_INLINE_TREE);
	if (!index || tree == NO_FUNCDATA) {
		*nodes = 0;
		return NULL;
	}
	int64_t highest = highest_value(table, index);
	if (highest < -1)
		return NULL;
	*nodes = (uint64_t)(highest + 1);
	return *nodes ? rqs_image_at(table->image, layout->funcdata + tree, *nodes * layout->node) : NULL;
}

static int add(struct rqs_inline_tree *tree, const char *callee, const char *host)
{
	if (tree->count % 16 == 0) {
		void *more = realloc(tree->entries, (tree->count + 16) * sizeof(*tree->entries));

		if (!more)
			return -ENOMEM;
		tree->entries = more;
	}
	tree->entries[tree->count++] = (struct rqs_inlined){callee, host};
	return 0;
}

static int read_function(struct rqs_inline_tree *tree, const struct rqs_go_table *table, const struct layout *layout,
			 const struct rqs_go_function *function, bool (*wanted)(const char *name))
{
	uint64_t nodes;
	const uint8_t *node = tree_of(table, layout, function, &nodes);

	if (nodes && !node)
		return -EINVAL;
	for (uint64_t i = 0; i < nodes; i++, node += layout->node) {
		const char *callee = rqs_go_table_name(table, rqs_load32(node + layout->name));

		if (!callee || !*callee || rqs_load32(node + layout->parent) >= function->end - function->start)
			return -EINVAL;
		if (wanted(callee) && add(tree, callee, function->name))
			return -ENOMEM;
	}
	return 0;
}

int rqs_inline_tree_read(struct rqs_inline_tree *tree, const struct rqs_go_table *table,
			 bool (*wanted)(const char *name))
{
	struct layout layout;
	struct rqs_go_function function;
	int error = 0;

	memset(tree, 0, sizeof(*tree));
	if (!take_layout(table, &layout))
		return -EINVAL;
	for (uint64_t i = 0; i < table->count && !error; i++)
		error = rqs_go_table_function(table, i, &function)
			    ? read_function(tree, table, &layout, &function, wanted)
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
			return tree->entries[i].host;
	return NULL;
}
