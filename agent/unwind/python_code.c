/* python_code.c - see python_code.h. */
#include "unwind/python_code.h"

#include <stdlib.h>
#include <string.h>

#define REPLACEMENT 0xfffdu /* for what is no character */

#define RECENT 16u /* instructions of each whose lines are kept: tables are read from their beginning */

struct code {
	uint32_t first_line;
	uint32_t recent[RECENT], recent_lines[RECENT]; /* by offset, in the table's units; offset + 1, 0: none */
	uint16_t table_bytes;
	uint8_t table_kind;
	const char *function, *file; /* in data */
	unsigned char data[];        /* the line table, then the texts */
};

struct rqs_python_codes {
	struct code **codes; /* by number; NULL: not known */
	uint32_t room;
	size_t bytes; /* of the codes together */
};

/* Stands for each of those for which there is no room. */
static struct code too_many = {.function = "(too many code objects)", .file = ""};

struct rqs_python_codes *rqs_python_codes_new(void)
{
	return calloc(1, sizeof(struct rqs_python_codes));
}

void rqs_python_codes_free(struct rqs_python_codes *codes)
{
	for (uint32_t i = 0; codes && i < codes->room; i++)
		if (codes->codes[i] != &too_many)
			free(codes->codes[i]);
	if (codes)
		free(codes->codes);
	free(codes);
}

/* ---- texts ---- */

static uint32_t character(const unsigned char *p, unsigned width)
{
	uint32_t c = 0;

	memcpy(&c, p, width);
	return !c || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? REPLACEMENT : c;
}

static char *put_utf8(char *to, uint32_t c)
{
	unsigned more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};

	*to++ = (char)(lead[more] | c >> 6 * more);
	while (more--)
		*to++ = (char)(0x80 | (c >> 6 * more & 0x3f));
	return to;
}

static char *put_text(char *to, const unsigned char *from, size_t bytes, unsigned width)
{
	for (size_t i = 0; i + width <= bytes; i += width)
		to = put_utf8(to, character(from + i, width));
	*to++ = 0;
	return to;
}

/* A byte that is no character's is three. */
static size_t utf8_room(size_t bytes)
{
	return 3 * bytes + 1;
}

/* ---- records ---- */

static bool is_width(unsigned width, unsigned bytes)
{
	return (width == 1 || width == 2 || width == 4) && bytes <= RQS_CODE_TEXT && bytes % width == 0;
}

static bool is_valid(const struct rqs_code_record *record, size_t size)
{
	return size >= sizeof(*record) && record->type == RQS_RECORD_CODE && record->number != 0 &&
	       record->number <= RQS_PYTHON_CODES && is_width(record->file_width, record->file_bytes) &&
	       is_width(record->name_width, record->name_bytes) && record->table_bytes <= RQS_CODE_TABLE &&
	       sizeof(*record) + record->file_bytes + record->name_bytes + record->table_bytes <= size;
}

static bool make_room(struct rqs_python_codes *codes, uint32_t number)
{
	uint32_t room = codes->room ? codes->room : 256;

	if (number < codes->room)
		return true;
	while (room <= number)
		room *= 2;
	struct code **more = realloc(codes->codes, room * sizeof(*more));
	if (!more)
		return false;
	memset(more + codes->room, 0, (room - codes->room) * sizeof(*more));
	codes->codes = more;
	codes->room = room;
	return true;
}

bool rqs_python_codes_take(struct rqs_python_codes *codes, const struct rqs_code_record *record, size_t size)
{
	if (!is_valid(record, size) || !make_room(codes, record->number) || codes->codes[record->number])
		return false;
	const unsigned char *file = record->data, *name = file + record->file_bytes;
	size_t bytes = sizeof(struct code) + record->table_bytes + utf8_room(record->file_bytes) +
		       utf8_room(record->name_bytes);
	bool fits = bytes <= RQS_PYTHON_CODE_BYTES - codes->bytes;
	struct code *code = fits ? calloc(1, bytes) : &too_many;

	if (!code)
		return false;
	if (!fits) {
		codes->codes[record->number] = code;
		return true;
	}
	codes->bytes += bytes;
	code->first_line = record->first_line;
	code->table_bytes = record->table_bytes;
	code->table_kind = record->table_kind;
	memcpy(code->data, name + record->name_bytes, record->table_bytes);
	char *texts = (char *)code->data + record->table_bytes;
	code->file = texts;
	code->function = put_text(texts, file, record->file_bytes, record->file_width);
	put_text((char *)code->function, name, record->name_bytes, record->name_width);
	codes->codes[record->number] = code;
	return true;
}

/* ---- lines ---- */

/*
 * What a table tells of the instructions from start on, up to end, in bytes:
 * their line, or none.
 */
struct range {
	const unsigned char *next, *table_end;
	uint32_t end;
	int64_t line; /* as added up; of the range only if has_line */
	bool has_line;
};

/* Pairs of bytes: instructions, then by how much the line differs behind them (Objects/lnotab_notes.txt, 3.9). */
static bool next_lnotab(struct range *range)
{
	if (range->next + 2 > range->table_end)
		return false;
	range->end += range->next[0];
	range->next += 2;
	return true;
}

static int64_t line_by_lnotab(struct range *range, uint32_t offset)
{
	while (next_lnotab(range) && range->end <= offset)
		range->line += (signed char)range->next[-1];
	return range->line;
}

/* Pairs: instructions, and by how much their line differs from those before; -128: they have none (PEP 626). */
static bool next_310(struct range *range)
{
	if (range->next + 2 > range->table_end)
		return false;
	int difference = (signed char)range->next[1];

	range->end += range->next[0];
	range->has_line = difference != -128;
	if (range->has_line)
		range->line += difference;
	range->next += 2;
	return true;
}

/* Six bits a byte, the lowest first; 0x40: more follow. */
static uint64_t varint(struct range *range)
{
	uint64_t value = 0;

	for (unsigned shift = 0; range->next < range->table_end && shift < 60; shift += 6) {
		unsigned char byte = *range->next++;

		value |= (uint64_t)(byte & 0x3f) << shift;
		if (!(byte & 0x40))
			break;
	}
	return value;
}

static int64_t signed_varint(struct range *range)
{
	uint64_t value = varint(range);

	return value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
}

/* What the first byte's bits 3 to 6 say of an entry (PEP 657; InternalDocs/code_objects.md). Below: the same line. */
enum { ONE_LINE = 10, NO_COLUMNS = 13, LONG = 14, NO_LOCATION = 15 };

static bool next_location(struct range *range)
{
	if (range->next >= range->table_end)
		return false;
	unsigned first = *range->next++, kind = first >> 3 & 15;

	range->end += 2 * ((first & 7) + 1);
	range->has_line = kind != NO_LOCATION;
	if (kind == NO_COLUMNS || kind == LONG)
		range->line += signed_varint(range);
	else if (kind >= ONE_LINE && kind < NO_COLUMNS)
		range->line += kind - ONE_LINE;
	/* Each entry's first byte, and no other, has the highest bit. */
	while (range->next < range->table_end && !(*range->next & 0x80))
		range->next++;
	return true;
}

static int64_t line_by(bool (*next)(struct range *), struct range *range, uint32_t offset)
{
	do
		if (!next(range))
			return 0;
	while (range->end <= offset);
	return range->has_line ? range->line : 0;
}

static uint32_t read_line(const struct code *code, uint32_t offset)
{
	struct range range = {.next = code->data, .table_end = code->data + code->table_bytes, .line = code->first_line};
	int64_t line = 0;

	if (code->table_kind == RQS_LINES_LNOTAB)
		line = line_by_lnotab(&range, offset);
	else if (code->table_kind == RQS_LINES_310)
		line = line_by(next_310, &range, offset);
	else if (code->table_kind == RQS_LINES_LOCATIONS)
		line = line_by(next_location, &range, offset);
	return line > 0 && line <= UINT32_MAX ? (uint32_t)line : 0;
}

static uint32_t line_of(struct code *code, uint32_t offset)
{
	uint32_t at = offset / 2 % RECENT;

	if (code->recent[at] != offset + 1) {
		code->recent_lines[at] = read_line(code, offset);
		code->recent[at] = offset + 1;
	}
	return code->recent_lines[at];
}

bool rqs_python_codes_frame(const struct rqs_python_codes *codes, uint32_t number, uint32_t offset,
			    struct rqs_python_place *place)
{
	struct code *code = number < codes->room ? codes->codes[number] : NULL;

	if (number > RQS_PYTHON_CODES)
		code = &too_many;
	if (!code)
		return false;
	place->function = code->function;
	place->file = code->file;
	place->line = code == &too_many ? 0 : line_of(code, offset & ~RQS_FRAME_ENTRY);
	return true;
}
