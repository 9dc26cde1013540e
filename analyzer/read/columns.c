/* columns.c - bounds-checked decoding of varints, deltas and quantised codes. */
#include "read/columns.h"

#include <string.h>

#define MAX_PROCESS 65535u
#define MAX_STATUS 999u
#define MAX_OFFSET (1ull << 51)               /* us; times 1000 it stays below 2^61 */
#define MAX_CODE (((60u - 8u) * 512u) + 511u) /* the last one of values below 2^61 */

static const bool nullable[RQS_COL_LIMIT] = {
#define NULLABLE(symbol, id, name, null) [id] = null,
    RQS_COLUMNS(NULLABLE)
#undef NULLABLE
};

static const bool known[RQS_COL_LIMIT] = {
#define KNOWN(symbol, id, name, null) [id] = true,
    RQS_COLUMNS(KNOWN)
#undef KNOWN
};

static uint32_t u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool fail(struct rqs_columns *c, const char *why)
{
	c->error = why;
	return false;
}

/* Reads one varint; NULL when it is cut, longer than 10 bytes, or above 64 bits. */
static const uint8_t *long_varint(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
	uint64_t v = 0;

	for (unsigned shift = 0; p < end && shift < 70; shift += 7) {
		uint64_t byte = *p++;

		if (shift == 63 && byte > 1)
			return NULL;
		v |= (byte & 0x7f) << shift;
		if (byte < 0x80) {
			*value = v;
			return p;
		}
	}
	return NULL;
}

static inline const uint8_t *varint(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
	if (__builtin_expect(end - p >= 2, 1)) {
		if (p[0] < 0x80) {
			*value = p[0];
			return p + 1;
		}
		if (p[1] < 0x80) {
			*value = (p[0] & 0x7fu) | (uint64_t)p[1] << 7;
			return p + 2;
		}
	}
	return long_varint(p, end, value);
}

static bool open_cursor(struct rqs_columns *c, struct rqs_column_cursor *k, uint32_t length)
{
	bool quantised = k->id >= RQS_COL_QUEUE && nullable[k->id];

	switch (k->encoding) {
	case RQS_ENC_CONSTANT:
		if (varint(k->next, k->end, &k->value) != k->end)
			return fail(c, "a constant column is not one varint");
		return true;
	case RQS_ENC_VARINT:
	case RQS_ENC_DELTA:
		if (length < c->rows || (k->encoding == RQS_ENC_DELTA && k->nullable))
			return fail(c, "a column is too short for its rows or oddly encoded");
		return true;
	case RQS_ENC_QUANTISED:
		if (length != 2ull * c->rows || !quantised)
			return fail(c, "a quantised column has the wrong length");
		k->low = k->next + c->rows;
		return true;
	}
	return fail(c, "a column has an unknown encoding");
}

static bool open_columns(struct rqs_columns *c, const uint8_t *p, const uint8_t *end, uint64_t wanted)
{
	uint64_t seen = 0;

	if (p == end)
		return fail(c, "the columns are missing");
	for (unsigned left = *p++; left; left--) {
		if (end - p < 6)
			return fail(c, "a column's head is cut");
		uint8_t id = p[0], encoding = p[1];
		uint32_t length = u32(p + 2);
		p += 6;
		if (length > (size_t)(end - p))
			return fail(c, "a column is longer than the payload");
		if (id < RQS_COL_LIMIT && known[id]) {
			struct rqs_column_cursor *k = &c->cursor[c->cursors];

			if (seen & RQS_COLUMN_BIT(id))
				return fail(c, "a column appears twice");
			seen |= RQS_COLUMN_BIT(id);
			*k = (struct rqs_column_cursor){
			    .id = id, .encoding = encoding, .nullable = nullable[id], .next = p, .end = p + length};
			if (wanted & RQS_COLUMN_BIT(id)) {
				if (!open_cursor(c, k, length))
					return false;
				c->cursors++;
			}
		}
		p += length;
	}
	c->present = seen & wanted;
	return p == end ? true : fail(c, "bytes behind the last column");
}

bool rqs_columns_open_table(struct rqs_columns *c, const uint8_t *bytes, size_t length)
{
	const uint8_t *p = bytes, *end = bytes + length;

	memset(c, 0, offsetof(struct rqs_columns, cursor));
	c->present = 0;
	c->error = NULL;
	if (length < 8)
		return fail(c, "the row count is cut");
	c->rows = u32(p);
	c->routes = u32(p + 4);
	p += 8;
	if (!c->rows || c->rows > RQS_ROWS_MAX || c->routes > RQS_ROUTES_MAX)
		return fail(c, "an impossible number of rows or routes");
	c->route_next = p;
	for (uint32_t i = 0; i < c->routes; i++) {
		if (end - p < 3 || (uint32_t)(p[1] | p[2] << 8) > (size_t)(end - p - 3))
			return fail(c, "the route table is cut");
		p += 3 + (p[1] | p[2] << 8);
	}
	c->route_end = p;
	return true;
}

bool rqs_columns_open(struct rqs_columns *c, const uint8_t *bytes, size_t length, uint64_t wanted)
{
	return rqs_columns_open_table(c, bytes, length) && open_columns(c, c->route_end, bytes + length, wanted);
}

bool rqs_columns_route(struct rqs_columns *c, uint8_t *method, const char **text, uint16_t *length)
{
	const uint8_t *p = c->route_next;

	if (p == c->route_end)
		return false;
	*method = p[0] < RQS_METHOD_COUNT ? p[0] : RQS_METHOD_OTHER;
	*length = (uint16_t)(p[1] | p[2] << 8);
	*text = (const char *)p + 3;
	c->route_next = p + 3 + *length;
	return true;
}

static bool fill_constant(const struct rqs_column_cursor *k, uint64_t *to, uint32_t rows)
{
	uint64_t v = k->nullable ? k->value - 1 : k->value; /* 0 - 1 is RQS_NULL */

	for (uint32_t i = 0; i < rows; i++)
		to[i] = v;
	return true;
}

/* Eight varints of one byte each, which is what most columns hold, go in one step. */
static inline bool eight_short(const uint8_t *p, const uint8_t *end)
{
	uint64_t word;

	if (end - p < 8)
		return false;
	memcpy(&word, p, sizeof(word));
	return !(word & 0x8080808080808080ull);
}

static bool fill_varint(struct rqs_column_cursor *k, uint64_t *to, uint32_t rows)
{
	const uint8_t *p = k->next, *end = k->end;
	uint64_t less = k->nullable;

	for (uint32_t i = 0; i < rows;) {
		if (rows - i >= 8 && eight_short(p, end)) {
			for (unsigned j = 0; j < 8; j++)
				to[i + j] = p[j] - less;
			p += 8;
			i += 8;
			continue;
		}
		p = varint(p, end, &to[i]);
		if (!p)
			return false;
		to[i++] -= less;
	}
	k->next = p;
	return true;
}

static bool fill_delta(struct rqs_column_cursor *k, uint64_t *to, uint32_t rows)
{
	const uint8_t *p = k->next, *end = k->end;
	uint64_t value = k->value, step;

	for (uint32_t i = 0; i < rows; i++) {
		p = varint(p, end, &step);
		if (!p)
			return false;
		value += (step >> 1) ^ -(step & 1);
		to[i] = value;
	}
	k->value = value;
	k->next = p;
	return true;
}

/* As rqs_dequantise, without branches, so that the compiler makes vectors of it. */
static bool fill_quantised(struct rqs_column_cursor *k, uint64_t *to, uint32_t rows)
{
	unsigned bad = 0;

	for (uint32_t i = 0; i < rows; i++) {
		uint32_t code = (uint32_t)k->next[i] << 8 | k->low[i];
		uint32_t scale = code >> 9;
		uint64_t shift = scale ? scale - 1 : 0;
		uint64_t mantissa = (scale ? 512u : 0u) | (code & 511u);
		uint64_t v = (mantissa << (shift & 63)) + ((1ull << (shift & 63)) >> 1);

		bad |= code > MAX_CODE && code != RQS_QUANTISED_NULL;
		to[i] = code == RQS_QUANTISED_NULL ? RQS_NULL : v;
	}
	k->next += rows;
	k->low += rows;
	return !bad;
}

static bool below(const uint64_t *v, uint32_t rows, uint64_t limit)
{
	unsigned bad = 0;

	for (uint32_t i = 0; i < rows; i++)
		bad |= v[i] >= limit;
	return !bad;
}

static bool below_or_null(const uint64_t *v, uint32_t rows, uint64_t limit)
{
	unsigned bad = 0;

	for (uint32_t i = 0; i < rows; i++)
		bad |= v[i] >= limit && v[i] != RQS_NULL;
	return !bad;
}

static bool in_range(const struct rqs_columns *c, uint8_t id, const uint64_t *v, uint32_t rows)
{
	switch (id) {
	case RQS_COL_TIME:
		return below(v, rows, MAX_OFFSET);
	case RQS_COL_PROCESS:
		return below(v, rows, MAX_PROCESS + 1);
	case RQS_COL_ROUTE:
		return below(v, rows, c->routes);
	case RQS_COL_STATUS:
		return below(v, rows, MAX_STATUS + 1);
	case RQS_COL_SITE_EVENT:
		return below(v, rows, RQS_SITE_EVENTS);
	case RQS_COL_SITE_OWNER:
		return below(v, rows, RQS_SITE_OWNERS);
	case RQS_COL_SITE_ROUTE:
		return below_or_null(v, rows, c->routes);
	case RQS_COL_SITE_FOLLOWED:
		return below(v, rows, 2);
	}
	return true;
}

static bool fill(struct rqs_column_cursor *k, uint64_t *to, uint32_t rows)
{
	switch (k->encoding) {
	case RQS_ENC_CONSTANT:
		return fill_constant(k, to, rows);
	case RQS_ENC_VARINT:
		return fill_varint(k, to, rows);
	case RQS_ENC_DELTA:
		return fill_delta(k, to, rows);
	}
	return fill_quantised(k, to, rows);
}

static void fill_absent(struct rqs_block *block, uint8_t id)
{
	for (uint32_t i = 0; i < RQS_BLOCK_ROWS; i++)
		block->column[id][i] = nullable[id] ? RQS_NULL : 0;
}

void rqs_block_init(struct rqs_block *block)
{
	block->rows = 0;
	block->present = 0;
	for (uint8_t id = 0; id < RQS_COL_LIMIT; id++)
		fill_absent(block, id);
}

/* All varints are used up exactly when all rows are decoded. */
static bool finish(struct rqs_columns *c)
{
	for (unsigned i = 0; i < c->cursors; i++) {
		struct rqs_column_cursor *k = &c->cursor[i];

		if ((k->encoding == RQS_ENC_VARINT || k->encoding == RQS_ENC_DELTA) && k->next != k->end)
			return fail(c, "a column has bytes behind its last row");
	}
	return true;
}

bool rqs_columns_decode(struct rqs_columns *c, struct rqs_block *block)
{
	uint32_t rows = c->rows - c->row;

	if (c->error || !rows)
		return false;
	if (rows > RQS_BLOCK_ROWS)
		rows = RQS_BLOCK_ROWS;
	for (uint64_t gone = block->present & ~c->present; gone; gone &= gone - 1)
		fill_absent(block, (uint8_t)__builtin_ctzll(gone));
	block->present = c->present;
	for (unsigned i = 0; i < c->cursors; i++) {
		uint8_t id = c->cursor[i].id;

		if (!fill(&c->cursor[i], block->column[id], rows))
			return fail(c, "a value is cut or impossible");
		if (!in_range(c, id, block->column[id], rows))
			return fail(c, "a value is out of range");
	}
	block->rows = rows;
	c->row += rows;
	return c->row < c->rows || finish(c);
}
