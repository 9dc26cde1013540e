/* fuzz_columns.c - a requests, samples or sites payload: the decoder alone. */
#include "read/columns.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static bool in_range(const struct rqs_columns *c, const struct rqs_block *block, uint32_t i)
{
	uint64_t site_route = block->column[RQS_COL_SITE_ROUTE][i];

	return block->column[RQS_COL_STATUS][i] <= 999 && block->column[RQS_COL_PROCESS][i] <= 65535 &&
	       (!c->routes || block->column[RQS_COL_ROUTE][i] < c->routes) &&
	       (site_route == RQS_NULL || site_route < c->routes) &&
	       block->column[RQS_COL_SITE_EVENT][i] < RQS_SITE_EVENTS &&
	       block->column[RQS_COL_SITE_OWNER][i] < RQS_SITE_OWNERS && block->column[RQS_COL_SITE_FOLLOWED][i] < 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct rqs_block block;
	static struct rqs_columns c;
	const char *text;
	uint16_t template;
	uint8_t method;
	uint64_t wanted = length && bytes[0] & 1 ? UINT64_MAX : RQS_COLUMN_BIT(RQS_COL_ROUTE);

	if (!length)
		return 0;
	rqs_block_init(&block);
	if (!rqs_columns_open(&c, bytes + 1, length - 1, wanted))
		return 0;
	while (rqs_columns_route(&c, &method, &text, &template))
		if (template && text[template - 1] == 0 && method == 0)
			continue;
	while (rqs_columns_decode(&c, &block))
		for (uint32_t i = 0; i < block.rows; i++)
			if (!in_range(&c, &block, i))
				abort();
	return 0;
}
