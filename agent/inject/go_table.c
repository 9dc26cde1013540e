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

#define PCDATA_INLINE_INDEX 2
#define FUNCDATA_INLINE_TREE 3
#define NO_FUNCDATA UINT32_MAX
#define NO_FILE UINT32_MAX

/* moduledata.gofunc; Go 1.20 put two words before it. */
#define MODULE_FUNCDATA_118 (38 * 8)
#define MODULE_FUNCDATA_120 (40 * 8)

/* Offsets of pcHeader's words. */
enum { NFUNC = 8, TEXT_START = 24, NAMES = 32, UNITS = 40, FILES = 48, PCTAB = 56, FUNCTIONS = 64 };

/* Of runtime._func's; what comes behind UNIT lies further on since Go 1.20. */
enum { NAME = 4, SP_VALUES = 16, FILE_VALUES = 20, LINE_VALUES = 24, PCDATA_COUNT = 28, UNIT = 32 };

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
	table->units = units;
	table->files = rqs_load64(bytes + FILES);
	table->before_120 = rqs_load32(bytes) == MAGIC_118;
	table->count = rqs_load64(bytes + NFUNC);
	table->names = rqs_load64(bytes + NAMES);
	table->pcdata = rqs_load64(bytes + PCTAB);
	table->functions = rqs_load64(bytes + FUNCTIONS);
	if (table->names < HEADER || units <= table->names || table->files < units || table->pcdata < table->files ||
	    table->functions <= table->pcdata || table->functions >= table->size ||
	    table->count > (table->size - table->functions) / 8 - 1 || !table->count)
		return false;
	table->names_size = units - table->names;
	table->files_size = table->pcdata - table->files;
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
	if (table->module)
		table->funcdata = rqs_image_pointer(
		    image, table->module + (table->before_120 ? MODULE_FUNCDATA_118 : MODULE_FUNCDATA_120));
	/* Go 1.26 stores no address in the table itself. */
	table->text = table->module ? rqs_image_pointer(image, table->module + MODULE_TEXT)
				    : rqs_image_pointer(image, table->address + TEXT_START);
	if (!table->text || !rqs_go_table_function(table, 0, &first)) {
		*why = "the start of its text wasn't found";
		return false;
	}
	return true;
}

/* runtime._func's fixed part. */
static uint64_t record_size(const struct rqs_go_table *table)
{
	return table->before_120 ? 40 : 44;
}

bool rqs_go_table_at(const struct rqs_go_table *table, uint64_t index, struct rqs_go_function *function)
{
	if (index >= table->count)
		return false;
	const uint8_t *entry = table->bytes + table->functions + index * 8;
	uint32_t start = rqs_load32(entry), record = rqs_load32(entry + 4), end = rqs_load32(entry + 8);
	uint64_t room = table->size - table->functions;
	if (end < start || record > room || room - record < record_size(table))
		return false;

	function->record = table->bytes + table->functions + record;
	function->record_left = room - record;
	function->start = table->text + start;
	function->end = table->text + end;
	function->name = rqs_go_table_name(table, rqs_load32(function->record + NAME));
	function->code = NULL;
	return function->name != NULL;
}

bool rqs_go_table_function(const struct rqs_go_table *table, uint64_t index, struct rqs_go_function *function)
{
	if (!rqs_go_table_at(table, index, function))
		return false;
	function->code = rqs_image_at(table->image, function->start, function->end - function->start);
	return function->code != NULL;
}

bool rqs_go_table_find(const struct rqs_go_table *table, uint64_t address, struct rqs_go_function *function)
{
	uint64_t low = 0, high = table->count, at = address - table->text;

	if (address < table->text || at > UINT32_MAX)
		return false;
	/* Before low functions start at or before the address, from high on behind it. */
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (rqs_load32(table->bytes + table->functions + middle * 8) <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low && rqs_go_table_at(table, low - 1, function) && address < function->end;
}

bool rqs_go_table_record(const struct rqs_go_table *table, const struct rqs_go_function *function,
			 struct rqs_go_record *record)
{
	const uint8_t *bytes = function->record;
	uint64_t size = record_size(table), pcdata = rqs_load32(bytes + PCDATA_COUNT), funcdata = bytes[size - 1];

	if (size + 4 * (pcdata + funcdata) > function->record_left)
		return false;
	*record = (struct rqs_go_record){
	    .sp = rqs_load32(bytes + SP_VALUES),
	    .file = rqs_load32(bytes + FILE_VALUES),
	    .line = rqs_load32(bytes + LINE_VALUES),
	    .unit = rqs_load32(bytes + UNIT),
	    .id = bytes[size - 4],
	    .flags = bytes[size - 3],
	};
	if (pcdata <= PCDATA_INLINE_INDEX || funcdata <= FUNCDATA_INLINE_TREE)
		return true;
	record->inlined = rqs_load32(bytes + size + 4 * PCDATA_INLINE_INDEX);
	record->inline_tree = rqs_load32(bytes + size + 4 * pcdata + 4 * FUNCDATA_INLINE_TREE);
	record->has_inline_tree = record->inlined && record->inline_tree != NO_FUNCDATA;
	return true;
}

const char *rqs_go_table_file(const struct rqs_go_table *table, const struct rqs_go_record *record, int32_t value)
{
	uint64_t at = table->units + 4 * ((uint64_t)record->unit + (uint32_t)value);

	if (value < 0 || at + 4 > table->files)
		return NULL;
	uint64_t offset = rqs_load32(table->bytes + at);
	if (offset == NO_FILE || offset >= table->files_size)
		return NULL;
	const char *file = (const char *)table->bytes + table->files + offset;
	uint64_t room = table->files_size - offset;
	return memchr(file, 0, room < NAME_LIMIT ? room : NAME_LIMIT) ? file : NULL;
}

/* ---- values by instruction ---- */

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

bool rqs_go_values_begin(struct rqs_go_values *values, const struct rqs_go_table *table, uint32_t offset,
			 uint64_t start)
{
	if (!offset || offset >= table->pcdata_size)
		return false;
	*values = (struct rqs_go_values){
	    .at = table->bytes + table->pcdata + offset,
	    .end = table->bytes + table->pcdata + table->pcdata_size,
	    .until = start,
	    .value = -1,
	};
	return true;
}

bool rqs_go_values_next(struct rqs_go_values *values)
{
	uint32_t step, distance;

	if (values->at == values->end || (values->begun && !*values->at))
		return false;
	if (!take_varint(&values->at, values->end, &step) || !take_varint(&values->at, values->end, &distance)) {
		values->at = values->end;
		return false;
	}
	/* Signed numbers are stored with the sign in the lowest bit. */
	values->value = (int32_t)((uint32_t)values->value + (-(step & 1) ^ (step >> 1)));
	values->until += distance;
	values->begun = true;
	return true;
}

bool rqs_go_table_value(const struct rqs_go_table *table, const struct rqs_go_function *function, uint32_t offset,
			uint64_t address, int32_t *value)
{
	struct rqs_go_values values;

	if (!rqs_go_values_begin(&values, table, offset, function->start))
		return false;
	while (rqs_go_values_next(&values)) {
		*value = values.value;
		if (address < values.until)
			return true;
	}
	return false;
}

const char *rqs_go_table_name(const struct rqs_go_table *table, uint64_t offset)
{
	const char *name = (const char *)table->bytes + table->names + offset;

	if (offset >= table->names_size)
		return NULL;
	uint64_t room = table->names_size - offset;
	return memchr(name, 0, room < NAME_LIMIT ? room : NAME_LIMIT) ? name : NULL;
}
