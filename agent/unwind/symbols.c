/* symbols.c - see symbols.h. */
#include "unwind/symbols.h"

#include "unwind/debug_file.h"

#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTION_LIMIT (512u << 20)
#define NESTED 16u /* symbols that may lie between a function's beginning and an address in it */

struct symbol {
	uint64_t address, size;
	const char *name;
	uint8_t rank; /* of those at one address the lowest is taken */
	bool is_sized;
};

struct rqs_symbols {
	Elf *elf, *debug;        /* what `name` points into; the latter of a separate file, NULL none */
	int debug_fd;            /* -1 none */
	struct rqs_lines *lines; /* NULL none */
	struct symbol *all;
	size_t count;
};

/* ---- reading ---- */

static uint8_t rank_of(const Elf64_Sym *symbol, const char *name)
{
	unsigned strange = ELF64_ST_TYPE(symbol->st_info) == STT_NOTYPE, underscores = (unsigned)strspn(name, "_");

	return (uint8_t)(8 * strange + 2 * (underscores < 3 ? underscores : 3) +
			 (ELF64_ST_BIND(symbol->st_info) == STB_LOCAL));
}

/*
 * Of assembly there are symbols without a size: as far as the section goes, if
 * nothing follows. Where only some functions have symbols that isn't known.
 */
static bool size_of(Elf *elf, const Elf64_Sym *symbol, bool all, uint64_t *size)
{
	Elf_Scn *section = symbol->st_shndx < SHN_LORESERVE ? elf_getscn(elf, symbol->st_shndx) : NULL;
	const Elf64_Shdr *header = section ? elf64_getshdr(section) : NULL;

	if ((!all && !symbol->st_size) || !header || !(header->sh_flags & SHF_EXECINSTR) ||
	    symbol->st_value - header->sh_addr >= header->sh_size)
		return false;
	*size = symbol->st_size ? symbol->st_size : header->sh_size - (symbol->st_value - header->sh_addr);
	return true;
}

static void add(struct rqs_symbols *symbols, Elf *elf, const Elf64_Shdr *table, const Elf64_Sym *symbol)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info);
	struct symbol *next = &symbols->all[symbols->count];

	if (symbol->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE) ||
	    !size_of(elf, symbol, table->sh_type == SHT_SYMTAB, &next->size))
		return;
	next->name = elf_strptr(elf, table->sh_link, symbol->st_name);
	if (!next->name || !*next->name)
		return;
	next->address = symbol->st_value;
	next->rank = rank_of(symbol, next->name);
	next->is_sized = symbol->st_size != 0;
	symbols->count++;
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *first = a, *second = b;

	if (first->address != second->address)
		return first->address < second->address ? -1 : 1;
	return first->rank - second->rank;
}

/* One an address, and no labels inside of functions, such as those in V8's builtins. */
static void leave_best(struct rqs_symbols *symbols)
{
	uint64_t function_end = 0;
	size_t kept = 0;

	qsort(symbols->all, symbols->count, sizeof(*symbols->all), by_address);
	for (size_t i = 0; i < symbols->count; i++) {
		const struct symbol *next = &symbols->all[i];

		if ((kept && symbols->all[kept - 1].address == next->address) ||
		    (!next->is_sized && next->address < function_end))
			continue;
		if (next->is_sized)
			function_end = next->address + next->size;
		symbols->all[kept++] = *next;
	}
	symbols->count = kept;
}

static bool read_table(struct rqs_symbols *symbols, Elf *elf, Elf_Scn *section, const Elf64_Shdr *header)
{
	Elf_Data *data = header->sh_size <= SECTION_LIMIT ? elf_getdata(section, NULL) : NULL;
	size_t count = data ? data->d_size / sizeof(Elf64_Sym) : 0;

	symbols->all = count ? calloc(count, sizeof(*symbols->all)) : NULL;
	for (size_t i = 0; symbols->all && i < count; i++)
		add(symbols, elf, header, (const Elf64_Sym *)data->d_buf + i);
	if (!symbols->count) {
		free(symbols->all);
		symbols->all = NULL;
		return false;
	}
	leave_best(symbols);
	return true;
}

static bool read_kind(struct rqs_symbols *symbols, Elf *elf, uint32_t kind)
{
	Elf_Scn *section = NULL;

	while ((section = elf_nextscn(elf, section))) {
		const Elf64_Shdr *header = elf64_getshdr(section);

		if (header && header->sh_type == kind)
			return read_table(symbols, elf, section, header);
	}
	return false;
}

static void open_debug_file(struct rqs_symbols *symbols, int root, const char *path)
{
	symbols->debug_fd = rqs_debug_file_open(symbols->elf, root, path);
	if (symbols->debug_fd >= 0)
		symbols->debug = elf_begin(symbols->debug_fd, ELF_C_READ, NULL);
}

static void read_all(struct rqs_symbols *symbols, bool whole_file, int root, const char *path)
{
	bool named = read_kind(symbols, symbols->elf, SHT_SYMTAB);

	if (whole_file)
		symbols->lines = rqs_lines_new(symbols->elf);
	if (whole_file && (!named || !symbols->lines))
		open_debug_file(symbols, root, path);
	if (symbols->debug && !symbols->lines)
		symbols->lines = rqs_lines_new(symbols->debug);
	if (!named && !(symbols->debug && read_kind(symbols, symbols->debug, SHT_SYMTAB)))
		read_kind(symbols, symbols->elf, SHT_DYNSYM);
}

static struct rqs_symbols *make(struct rqs_code_file *file, int root, const char *path)
{
	struct rqs_symbols *symbols = file->elf ? calloc(1, sizeof(*symbols)) : NULL;

	if (!symbols)
		return NULL;
	symbols->debug_fd = -1;
	elf_version(EV_CURRENT);
	symbols->elf = file->image ? elf_memory((char *)(uintptr_t)file->image, file->size)
				   : elf_begin(file->fd, ELF_C_READ, NULL);
	if (symbols->elf)
		read_all(symbols, !file->image, root, path);
	return symbols;
}

struct rqs_symbols *rqs_symbols_of(struct rqs_code_file *file, int root, const char *path)
{
	if (!file->symbols_sought)
		file->symbols = make(file, root, path);
	file->symbols_sought = true;
	return file->symbols;
}

void rqs_symbols_free(struct rqs_symbols *symbols)
{
	if (!symbols)
		return;
	rqs_lines_free(symbols->lines);
	elf_end(symbols->debug);
	elf_end(symbols->elf);
	if (symbols->debug_fd >= 0)
		close(symbols->debug_fd);
	free(symbols->all);
	free(symbols);
}

/* ---- looking up ---- */

const char *rqs_symbols_name(const struct rqs_symbols *symbols, uint64_t address)
{
	size_t low = 0, high = symbols->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (symbols->all[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low; i > 0 && low - i < NESTED; i--)
		if (address - symbols->all[i - 1].address < symbols->all[i - 1].size)
			return symbols->all[i - 1].name;
	return NULL;
}

size_t rqs_symbols_lines(struct rqs_symbols *symbols, uint64_t address, struct rqs_line *found, size_t room)
{
	return symbols->lines ? rqs_lines_at(symbols->lines, address, found, room) : 0;
}
