/* go_table.c - reads the pclntab of a Go program. */
#include "inject/go_table.h"

#include <string.h>

#define MAGIC_118 0xfffffff0u
#define MAGIC_120 0xfffffff1u
#define NAME_LIMIT (1u << 16)
#define CANDIDATES 64 /* places that may be moduledata; a program has one */
#define HEADER 72u
#define MODULE_TEXT (22 * 8) /* of runtime.moduledata: a pointer, six slices, three words */
#define MODULE_SIZE (24 * 8)

/* Offsets of pcHeader's words. */
enum { NFUNC = 8, TEXT_START = 24, NAMES = 32, UNITS = 40, PCTAB = 56, FUNCTIONS = 64 };

static bool is_header(const uint8_t *bytes)
{
	static const uint8_t rest[] = {0, 0, 1, 8}; /* padding, instructions' alignment, size of a pointer */
	uint32_t magic = rqs_load32(bytes);

	return (magic == MAGIC_118 || magic == MAGIC_120) && !memcmp(bytes + 4, rest, sizeof(rest));
}

/* Takes the header in; false where its offsets don't fit what follows. */
static bool take_header(struct rqs_go_table *table)
{
	const uint8_t *bytes = table->bytes;

	if (table->size < HEADER || !is_header(bytes))
		return false;
	uint64_t units = rqs_load64(bytes + UNITS);
	table->before_120 = rqs_load32(bytes) == MAGIC_118;
	table->count = rqs_load64(bytes + NFUNC);
	table->names = rqs_load64(bytes + NAMES);
	table->pcdata = rqs_load64(bytes + PCTAB);
	table->functions = rqs_load64(bytes + FUNCTIONS);
	if (table->names < HEADER || units <= table->names || table->pcdata < units ||
	    table->functions <= table->pcdata || table->functions >= table->size ||
	    table->count > (table->size - table->functions) / 8 - 1 || !table->count)
		return false;
	table->names_size = units - table->names;
	table->pcdata_size = table->functions - table->pcdata;
	/* The first entry and the record that it names agree on where the function starts. */
	uint64_t record = rqs_load32(bytes + table->functions + 4);
	return record + 8 <= table->size - table->functions &&
	       rqs_load32(bytes + table->functions + record) == rqs_load32(bytes + table->functions);
}

static bool take_table(struct rqs_go_table *table, uint64_t address)
{
	table->address = address;
	table->bytes = rqs_image_from(table->image, address, &table->size);
	return table->bytes && take_header(table);
}

/* Where section headers were removed too. */
static bool search_table(struct rqs_go_table *table)
{
	struct rqs_image *image = table->image;

	for (size_t i = 0; i < image->segment_count; i++) {
		struct rqs_segment *segment = &image->segments[i];
		const uint8_t *bytes = rqs_image_segment(image, segment);

		for (uint64_t at = -segment->address & 7; bytes && at + HEADER <= segment->filled; at += 8)
			if (is_header(bytes + at) && take_table(table, segment->address + at))
				return true;
	}
	return false;
}

static bool find_table(struct rqs_go_table *table)
{
	static const char *const sections[] = {".gopclntab", ".data.rel.ro.gopclntab"};
	uint64_t address, size;

	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
		if (rqs_image_section(table->image, sections[i], &address, &size) && take_table(table, address))
			return true;
	return search_table(table);
}

/* moduledata begins with the table's address and that of the names in it. */
static bool is_module(const struct rqs_go_table *table, uint64_t address)
{
	return rqs_image_holds(table->image, address, MODULE_SIZE) &&
	       rqs_image_pointer(table->image, address) == table->address &&
	       rqs_image_pointer(table->image, address + 8) == table->address + table->names;
}

static uint64_t search_relocations(const struct rqs_go_table *table)
{
	const struct rqs_image *image = table->image;
	int candidates = CANDIDATES;

	for (size_t i = 0; i < image->relocation_count && candidates; i++) {
		const uint8_t *entry = image->relocations + i * sizeof(Elf64_Rela);

		if (rqs_load64(entry + 16) != table->address)
			continue;
		if (is_module(table, rqs_load64(entry)))
			return rqs_load64(entry);
		candidates--;
	}
	return 0;
}

static uint64_t search_words(const struct rqs_go_table *table)
{
	struct rqs_image *image = table->image;
	int candidates = CANDIDATES;

	for (size_t i = 0; i < image->segment_count; i++) {
		struct rqs_segment *segment = &image->segments[i];
		const uint8_t *bytes = segment->writable ? rqs_image_segment(image, segment) : NULL;

		for (uint64_t at = -segment->address & 7; bytes && candidates && at + 8 <= segment->filled; at += 8) {
			if (rqs_load64(bytes + at) != table->address)
				continue;
			if (is_module(table, segment->address + at))
				return segment->address + at;
			candidates--;
		}
	}
	return 0;
}

static uint64_t find_module(const struct rqs_go_table *table)
{
	uint64_t address, size;

	if (rqs_image_section(table->image, ".go.module", &address, &size) && is_module(table, address))
		return address;
	address = search_relocations(table);
	return address ? address : search_words(table);
}

bool rqs_go_table_open(struct rqs_go_table *table, struct rqs_image *image, const char **why)
{
	struct rqs_go_function first;

	memset(table, 0, sizeof(*table));
	table->image = image;
	if (!find_table(table)) {
		*why = "its table of functions wasn't found, or is older than Go 1.18";
		return false;
	}
	table->module = find_module(table);
	/* Go 1.26 stores no address in the table itself. */
	table->text = table->module ? rqs_image_pointer(image, table->module + MODULE_TEXT)
				    : rqs_image_pointer(image, table->address + TEXT_START);
	if (!table->text || !rqs_go_table_function(table, 0, &first)) {
		*why = "the start of its text wasn't found";
		return false;
	}
	return true;
}

bool rqs_go_table_function(const struct rqs_go_table *table, uint64_t index, struct rqs_go_function *function)
{
	uint64_t record_minimum = table->before_120 ? 40 : 44;

	if (index >= table->count)
		return false;
	const uint8_t *entry = table->bytes + table->functions + index * 8;
	uint32_t start = rqs_load32(entry), record = rqs_load32(entry + 4), end = rqs_load32(entry + 8);
	uint64_t room = table->size - table->functions;
	if (end < start || record > room || room - record < record_minimum)
		return false;

	function->record = table->bytes + table->functions + record;
	function->record_left = room - record;
	function->start = table->text + start;
	function->end = table->text + end;
	function->name = rqs_go_table_name(table, rqs_load32(function->record + 4));
	function->code = rqs_image_at(table->image, function->start, end - start);
	return function->name && function->code;
}

const char *rqs_go_table_name(const struct rqs_go_table *table, uint64_t offset)
{
	const char *name = (const char *)table->bytes + table->names + offset;

	if (offset >= table->names_size)
		return NULL;
	uint64_t room = table->names_size - offset;
	return memchr(name, 0, room < NAME_LIMIT ? room : NAME_LIMIT) ? name : NULL;
}
