/* lines.c - see lines.h. */
#include "unwind/lines.h"

#include "inject/room.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define INLINED 32u             /* functions at one address */
#define BLOCKS 256u             /* within one another */
#define DEPTH 16u               /* of scopes of names */
#define SIZE_LIMIT (512u << 20) /* of all sections: they are read whole */

/* Addresses of one compilation unit; not every compiler makes .debug_aranges, which would tell the same. */
struct range {
	uint64_t start, end;
	Dwarf_Off unit;
};

struct rqs_lines {
	Dwarf *dwarf;
	struct range *ranges;
	size_t count, room;
};

/* ---- units ---- */

static bool add_range(struct rqs_lines *lines, uint64_t start, uint64_t end, Dwarf_Off unit)
{
	if (start >= end || !start) /* what the linker threw away lies at 0 */
		return true;
	if (!rqs_make_room((void **)&lines->ranges, &lines->room, lines->count, sizeof(*lines->ranges)))
		return false;
	lines->ranges[lines->count++] = (struct range){start, end, unit};
	return true;
}

static bool add_unit(struct rqs_lines *lines, Dwarf_Die *unit)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;

	while ((at = dwarf_ranges(unit, at, &base, &start, &end)) > 0)
		if (!add_range(lines, start, end, dwarf_dieoffset(unit)))
			return false;
	return true;
}

static int by_start(const void *a, const void *b)
{
	const struct range *first = a, *second = b;

	return first->start < second->start ? -1 : first->start > second->start;
}

static void read_units(struct rqs_lines *lines)
{
	Dwarf_Off next, offset = 0;
	size_t head;
	Dwarf_Die unit;

	for (; !dwarf_nextcu(lines->dwarf, offset, &next, &head, NULL, NULL, NULL) && next > offset; offset = next)
		if (dwarf_offdie(lines->dwarf, offset + head, &unit) && !add_unit(lines, &unit))
			break;
	if (lines->count)
		qsort(lines->ranges, lines->count, sizeof(*lines->ranges), by_start);
}

static bool unit_of(struct rqs_lines *lines, uint64_t address, Dwarf_Die *unit)
{
	size_t low = 0, high = lines->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (lines->ranges[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && address < lines->ranges[low - 1].end &&
	       dwarf_offdie(lines->dwarf, lines->ranges[low - 1].unit, unit);
}

static bool is_small(Elf *elf)
{
	Elf_Scn *section = NULL;
	uint64_t size = 0;

	while (size <= SIZE_LIMIT && (section = elf_nextscn(elf, section))) {
		const Elf64_Shdr *header = elf64_getshdr(section);

		if (header && header->sh_type != SHT_NOBITS && !(header->sh_flags & SHF_ALLOC))
			size += header->sh_size <= SIZE_LIMIT ? header->sh_size : SIZE_LIMIT;
	}
	return size <= SIZE_LIMIT;
}

/*
 * Libdw reads, and decompresses, all sections that it knows, half of them for
 * nothing here: where variables are, macros and indexes. It passes by what is
 * said to hold no bytes.
 */
static void leave_out_unused(Elf *elf)
{
	static const char *const used[] = {"info",   "types",    "abbrev",      "line", "line_str",
					   "ranges", "rnglists", "str_offsets", "str",  "addr"};
	static const char debug[] = ".debug_";
	Elf_Scn *section = NULL;
	size_t names;

	if (elf_getshdrstrndx(elf, &names))
		return;
	while ((section = elf_nextscn(elf, section))) {
		Elf64_Shdr *header = elf64_getshdr(section);
		const char *name = header ? elf_strptr(elf, names, header->sh_name) : NULL;
		size_t i = 0;

		if (!name || strncmp(name, debug, strlen(debug)) != 0)
			continue;
		while (i < sizeof(used) / sizeof(*used) && strcmp(name + strlen(debug), used[i]) != 0)
			i++;
		if (i == sizeof(used) / sizeof(*used))
			header->sh_type = SHT_NOBITS;
	}
}

/*
 * Of a file that shares a part with others (dwz) that part would be opened by
 * its name, whatever and wherever it is: such a file's lines aren't read.
 */
struct rqs_lines *rqs_lines_new(Elf *elf)
{
	struct rqs_lines *lines = calloc(1, sizeof(*lines));
	const char *shared;
	const void *id;

	if (!lines)
		return NULL;
	leave_out_unused(elf);
	lines->dwarf = is_small(elf) ? dwarf_begin_elf(elf, DWARF_C_READ, NULL) : NULL;
	if (lines->dwarf && dwelf_dwarf_gnu_debugaltlink(lines->dwarf, &shared, &id) == 0)
		read_units(lines);
	if (!lines->count) {
		rqs_lines_free(lines);
		return NULL;
	}
	return lines;
}

void rqs_lines_free(struct rqs_lines *lines)
{
	if (!lines)
		return;
	dwarf_end(lines->dwarf);
	free(lines->ranges);
	free(lines);
}

/* ---- addresses ---- */

static const char *name_of(Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	const char *linked = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute));

	return linked ? linked : dwarf_diename(die);
}

static uint64_t number_of(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value = 0;

	return dwarf_formudata(dwarf_attr(die, name, &attribute), &value) ? 0 : value;
}

/* Where the call is of what was inlined. */
static void note_call(Dwarf_Die *unit, Dwarf_Die *inlined, struct rqs_line *place)
{
	Dwarf_Files *files;
	size_t count, file = number_of(inlined, DW_AT_call_file);

	*place = (struct rqs_line){.line = (uint32_t)number_of(inlined, DW_AT_call_line)};
	if (!dwarf_getsrcfiles(unit, &files, &count) && file < count)
		place->file = dwarf_filesrc(files, file, NULL, NULL);
}

/* Functions stand in their unit, or in what names are scoped by there. */
static bool find_function(Dwarf_Die *parent, uint64_t address, Dwarf_Die *function, unsigned depth)
{
	Dwarf_Die die;

	for (int more = dwarf_child(parent, &die); !more; more = dwarf_siblingof(&die, &die)) {
		int tag = dwarf_tag(&die);

		if (tag == DW_TAG_subprogram && dwarf_haspc(&die, address) > 0) {
			*function = die;
			return true;
		}
		if ((tag == DW_TAG_namespace || tag == DW_TAG_module || tag == DW_TAG_class_type ||
		     tag == DW_TAG_structure_type) &&
		    depth < DEPTH && find_function(&die, address, function, depth + 1))
			return true;
	}
	return false;
}

static bool find_block(Dwarf_Die *parent, uint64_t address, Dwarf_Die *block)
{
	for (int more = dwarf_child(parent, block); !more; more = dwarf_siblingof(block, block)) {
		int tag = dwarf_tag(block);

		if ((tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block) &&
		    dwarf_haspc(block, address) > 0)
			return true;
	}
	return false;
}

/* The function, and what is inlined at the address, inwards. */
static size_t functions_at(Dwarf_Die *unit, uint64_t address, Dwarf_Die *found)
{
	size_t count = 1;
	Dwarf_Die at, block;

	if (!find_function(unit, address, &found[0], 0))
		return 0;
	at = found[0];
	for (unsigned depth = 0; depth < BLOCKS && count < INLINED && find_block(&at, address, &block); depth++) {
		at = block;
		if (dwarf_tag(&at) == DW_TAG_inlined_subroutine)
			found[count++] = at;
	}
	return count;
}

static size_t name_places(Dwarf_Die *unit, uint64_t address, struct rqs_line *found, size_t room)
{
	Dwarf_Die functions[INLINED];
	size_t count = functions_at(unit, address, functions);

	if (count > room)
		return 0;
	for (size_t i = 0; i < count; i++) {
		Dwarf_Die *function = &functions[count - 1 - i];

		found[i].function = name_of(function);
		if (i + 1 < count)
			note_call(unit, function, &found[i + 1]);
	}
	return count;
}

size_t rqs_lines_at(struct rqs_lines *lines, uint64_t address, struct rqs_line *found, size_t room)
{
	Dwarf_Die unit;
	int number = 0;

	if (!unit_of(lines, address, &unit))
		return 0;
	found[0] = (struct rqs_line){0};
	Dwarf_Line *line = dwarf_getsrc_die(&unit, address);
	if (line) {
		found[0].file = dwarf_linesrc(line, NULL, NULL);
		found[0].line = dwarf_lineno(line, &number) || number < 0 ? 0 : (uint32_t)number;
	}
	size_t count = name_places(&unit, address, found, room);
	return count ? count : line != NULL;
}
