/* dynsym.c - see dynsym.h. By the section headers: these say how many symbols there are. */
#include "inject/dynsym.h"

#include <elf.h>
#include <stdbool.h>
#include <string.h>

static bool within(size_t size, uint64_t offset, uint64_t length)
{
	return offset <= size && length <= size - offset;
}

static bool read_section(const uint8_t *bytes, size_t size, unsigned index, Elf64_Shdr *section)
{
	Elf64_Ehdr head;

	memcpy(&head, bytes, sizeof(head));
	uint64_t offset = head.e_shoff + index * sizeof(*section);
	if (index >= head.e_shnum || head.e_shentsize != sizeof(*section) || offset < head.e_shoff ||
	    !within(size, offset, sizeof(*section)))
		return false;
	memcpy(section, bytes + offset, sizeof(*section));
	return true;
}

static bool is_named(const uint8_t *names, size_t size, uint32_t at, const char *name)
{
	size_t length = strlen(name) + 1;

	return within(size, at, length) && !memcmp(names + at, name, length);
}

static uint64_t look_up(const uint8_t *bytes, const Elf64_Shdr *symbols, const Elf64_Shdr *names, const char *name)
{
	Elf64_Sym symbol;

	for (uint64_t at = 0; at + sizeof(symbol) <= symbols->sh_size; at += sizeof(symbol)) {
		memcpy(&symbol, bytes + symbols->sh_offset + at, sizeof(symbol));
		if (symbol.st_shndx != SHN_UNDEF &&
		    is_named(bytes + names->sh_offset, names->sh_size, symbol.st_name, name))
			return symbol.st_value;
	}
	return 0;
}

uint64_t rqs_dynsym(const uint8_t *bytes, size_t size, const char *name)
{
	Elf64_Shdr symbols, names;

	if (size < sizeof(Elf64_Ehdr) || memcmp(bytes, ELFMAG, SELFMAG))
		return 0;
	for (unsigned i = 0; read_section(bytes, size, i, &symbols); i++)
		if (symbols.sh_type == SHT_DYNSYM)
			return within(size, symbols.sh_offset, symbols.sh_size) &&
				       read_section(bytes, size, symbols.sh_link, &names) &&
				       within(size, names.sh_offset, names.sh_size)
				   ? look_up(bytes, &symbols, &names, name)
				   : 0;
	return 0;
}
