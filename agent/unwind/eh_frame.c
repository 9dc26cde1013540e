/* eh_frame.c - see eh_frame.h. LSB's .eh_frame: https://refspecs.linuxfoundation.org, "Exception Frames". */
#include "unwind/eh_frame.h"

#include "inject/room.h"

#include <stdlib.h>
#include <string.h>

#define SECTION_LIMIT (64u << 20)
#define NAMES_LIMIT (1u << 20)

/* DW_EH_PE_*: how a pointer is kept. */
#define FORMAT 0x0f
#define PC_RELATIVE 0x10
#define UNKNOWN 0xff

struct row {
	int32_t function, fde;
};

struct rqs_eh_frame {
	uint64_t base;
	struct row *rows;
	uint32_t count;
	size_t room;
};

/* Bytes yet to be read; reading beyond them makes `at` NULL. */
struct cursor {
	const uint8_t *at, *end;
};

struct section {
	uint8_t *bytes;
	uint64_t address, size;
};

/* ---- values ---- */

static uint64_t take(struct cursor *cursor, unsigned size)
{
	uint64_t value = 0;

	if (!cursor->at || (size_t)(cursor->end - cursor->at) < size) {
		cursor->at = NULL;
		return 0;
	}
	memcpy(&value, cursor->at, size);
	cursor->at += size;
	return value;
}

static void skip_leb128(struct cursor *cursor)
{
	while (take(cursor, 1) & 0x80)
		;
}

/* As linked. */
static uint64_t take_pointer(struct cursor *cursor, const struct section *section, uint8_t encoding)
{
	uint64_t here = cursor->at ? section->address + (uint64_t)(cursor->at - section->bytes) : 0;
	uint64_t value = 0;

	switch (encoding & FORMAT) {
	case 0x00: /* absptr */
	case 0x04: /* udata8 */
	case 0x0c: /* sdata8 */
		value = take(cursor, 8);
		break;
	case 0x03: /* udata4 */
		value = take(cursor, 4);
		break;
	case 0x0b: /* sdata4 */
		value = (uint64_t)(int64_t)(int32_t)take(cursor, 4);
		break;
	default:
		cursor->at = NULL;
	}
	if ((encoding & 0x70) == PC_RELATIVE)
		return value + here;
	if (encoding & 0x70)
		cursor->at = NULL;
	return value;
}

/* ---- entries ---- */

/* One entry's bytes behind its length; false at the end. */
static bool next_entry(struct cursor *all, struct cursor *entry)
{
	uint64_t length = take(all, 4);

	if (length == UINT32_MAX)
		length = take(all, 8);
	if (!all->at || !length || length > (uint64_t)(all->end - all->at))
		return false;
	*entry = (struct cursor){all->at, all->at + length};
	all->at += length;
	return true;
}

/* How its FDEs keep their pointers: what the letter R of the CIE's augmentation says. */
static uint8_t encoding_of(const struct section *section, uint64_t cie)
{
	struct cursor all = {section->bytes + cie, section->bytes + section->size}, entry;
	char letters[8] = "";

	if (!next_entry(&all, &entry) || take(&entry, 4))
		return UNKNOWN;
	bool newest = take(&entry, 1) > 1;
	for (unsigned i = 0; i < sizeof(letters) - 1 && (letters[i] = (char)take(&entry, 1)); i++)
		;
	skip_leb128(&entry);
	skip_leb128(&entry);
	newest ? skip_leb128(&entry) : (void)take(&entry, 1);
	if (letters[0] != 'z')
		return letters[0] ? UNKNOWN : 0;
	skip_leb128(&entry);
	for (const char *letter = letters + 1; *letter; letter++) {
		if (*letter == 'R')
			return entry.at ? (uint8_t)take(&entry, 1) : UNKNOWN;
		if (*letter == 'P')
			take_pointer(&entry, section, (uint8_t)take(&entry, 1) & 0x7f & ~0x70);
		else if (*letter == 'L')
			take(&entry, 1);
	}
	return 0;
}

static bool add_row(struct rqs_eh_frame *frame, uint64_t function, uint64_t fde)
{
	int64_t first = (int64_t)(function - frame->base), second = (int64_t)(fde - frame->base);

	if (first != (int32_t)first || second != (int32_t)second)
		return true;
	if (!rqs_make_room((void **)&frame->rows, &frame->room, frame->count, sizeof(*frame->rows)))
		return false;
	frame->rows[frame->count++] = (struct row){(int32_t)first, (int32_t)second};
	return true;
}

static void add_all(struct rqs_eh_frame *frame, const struct section *section)
{
	struct cursor all = {section->bytes, section->bytes + section->size}, entry;
	uint64_t known = UINT64_MAX;
	uint8_t encoding = UNKNOWN;

	for (const uint8_t *start = all.at; next_entry(&all, &entry); start = all.at) {
		uint64_t back_at = (uint64_t)(entry.at - section->bytes), back = take(&entry, 4);

		if (!back || back > back_at)
			continue;
		if (back_at - back != known)
			encoding = encoding_of(section, known = back_at - back);
		uint64_t function = encoding == UNKNOWN ? 0 : take_pointer(&entry, section, encoding);
		if (function && entry.at &&
		    !add_row(frame, function, section->address + (uint64_t)(start - section->bytes)))
			return;
	}
}

/* ---- the section ---- */

static bool read_section(struct rqs_code_file *file, const Elf64_Ehdr *head, unsigned index, Elf64_Shdr *header)
{
	return index < head->e_shnum && head->e_shentsize == sizeof(*header) &&
	       rqs_code_file_read(file, head->e_shoff + index * sizeof(*header), header, sizeof(*header));
}

static bool is_eh_frame(struct rqs_code_file *file, const Elf64_Shdr *names, const Elf64_Shdr *header)
{
	static const char wanted[] = ".eh_frame";
	char name[sizeof(wanted)];

	return header->sh_flags & SHF_ALLOC && header->sh_type != SHT_NOBITS && header->sh_size <= SECTION_LIMIT &&
	       header->sh_name < NAMES_LIMIT &&
	       rqs_code_file_read(file, names->sh_offset + header->sh_name, name, sizeof(name)) &&
	       !memcmp(name, wanted, sizeof(name));
}

static bool find_section(struct rqs_code_file *file, struct section *section)
{
	Elf64_Ehdr head;
	Elf64_Shdr names, header;

	if (!rqs_code_file_read(file, 0, &head, sizeof(head)) || !read_section(file, &head, head.e_shstrndx, &names))
		return false;
	for (unsigned i = 0; read_section(file, &head, i, &header); i++) {
		if (!is_eh_frame(file, &names, &header))
			continue;
		*section = (struct section){malloc(header.sh_size + 1), header.sh_addr, header.sh_size};
		if (section->bytes && rqs_code_file_read(file, header.sh_offset, section->bytes, header.sh_size))
			return true;
		free(section->bytes);
		return false;
	}
	return false;
}

/* ---- */

static int by_function(const void *a, const void *b)
{
	const struct row *first = a, *second = b;

	return first->function < second->function ? -1 : first->function > second->function;
}

static struct rqs_eh_frame *make(struct rqs_code_file *file)
{
	struct section section;
	struct rqs_eh_frame *frame = NULL;

	if (!file->elf || !file->load_count || !find_section(file, &section))
		return NULL;
	frame = calloc(1, sizeof(*frame));
	if (frame) {
		frame->base = file->loads[0].address;
		add_all(frame, &section);
	}
	free(section.bytes);
	if (!frame || !frame->count) {
		rqs_eh_frame_free(frame);
		return NULL;
	}
	qsort(frame->rows, frame->count, sizeof(*frame->rows), by_function);
	return frame;
}

struct rqs_eh_frame *rqs_eh_frame_of(struct rqs_code_file *file)
{
	if (!file->frames_sought)
		file->eh_frame = make(file);
	file->frames_sought = true;
	return file->eh_frame;
}

void rqs_eh_frame_free(struct rqs_eh_frame *frame)
{
	if (frame)
		free(frame->rows);
	free(frame);
}

uint64_t rqs_eh_frame_base(const struct rqs_eh_frame *frame)
{
	return frame->base;
}

uint32_t rqs_eh_frame_count(const struct rqs_eh_frame *frame)
{
	return frame->count;
}

bool rqs_eh_frame_row(const struct rqs_eh_frame *frame, uint64_t offset, uint64_t *row)
{
	if (offset % sizeof(*frame->rows) || offset / sizeof(*frame->rows) >= frame->count)
		return false;
	memcpy(row, &frame->rows[offset / sizeof(*frame->rows)], sizeof(*row));
	return true;
}
