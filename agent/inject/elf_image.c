/* elf_image.c - reads the segments of an ELF file. */
#include "inject/elf_image.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SIZE_LIMIT (1ull << 30) /* of all segments: more is no program that is known, and takes long to look at */

/* libelf gives no errno; the kernel's own answer to a first read is what a caller can use. */
static int readable(int fd)
{
	uint8_t first;
	ssize_t got = pread(fd, &first, 1, 0);

	return got < 0 ? -errno : got == 0;
}

static bool usable_header(Elf *elf, struct rqs_image *image)
{
	const Elf64_Ehdr *header = elf_kind(elf) == ELF_K_ELF ? elf64_getehdr(elf) : NULL;

	if (!header || header->e_machine != EM_X86_64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
		return false;
	image->position_independent = header->e_type == ET_DYN;
	return header->e_type == ET_DYN || header->e_type == ET_EXEC;
}

static bool add_segment(struct rqs_image *image, const Elf64_Phdr *header)
{
	struct rqs_segment *last = image->segment_count ? &image->segments[image->segment_count - 1] : NULL;
	uint64_t end, size = header->p_filesz;

	for (size_t i = 0; i < image->segment_count; i++)
		size += image->segments[i].filled;
	if (!header->p_memsz)
		return true;
	if (image->segment_count == RQS_IMAGE_SEGMENTS || header->p_filesz > header->p_memsz ||
	    header->p_filesz > SIZE_LIMIT || size > SIZE_LIMIT ||
	    __builtin_add_overflow(header->p_vaddr, header->p_memsz, &end) ||
	    (last && header->p_vaddr < last->address + last->size))
		return false;
	image->segments[image->segment_count++] = (struct rqs_segment){
	    .address = header->p_vaddr,
	    .size = header->p_memsz,
	    .offset = header->p_offset,
	    .filled = header->p_filesz,
	    .writable = header->p_flags & PF_W,
	    .executable = header->p_flags & PF_X,
	};
	return true;
}

static bool add_segments(struct rqs_image *image, const Elf64_Phdr **dynamic)
{
	size_t count = 0;
	const Elf64_Phdr *headers = elf64_getphdr(image->elf);

	if (!headers || elf_getphdrnum(image->elf, &count))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (headers[i].p_type == PT_LOAD && !add_segment(image, &headers[i]))
			return false;
		if (headers[i].p_type == PT_DYNAMIC)
			*dynamic = &headers[i];
	}
	return image->segment_count > 0;
}

static void read_dynamic(struct rqs_image *image, const Elf64_Phdr *dynamic)
{
	const uint8_t *entries = rqs_image_at(image, dynamic->p_vaddr, dynamic->p_filesz);
	uint64_t address = 0, size = 0;

	for (uint64_t at = 0; entries && at + sizeof(Elf64_Dyn) <= dynamic->p_filesz; at += sizeof(Elf64_Dyn)) {
		uint64_t tag = rqs_load64(entries + at), value = rqs_load64(entries + at + 8);

		if (tag == DT_NULL)
			break;
		/* Go's own linker names a loader in position-independent programs, which then has nothing to load. */
		if (tag == DT_NEEDED)
			image->dynamic = true;
		if (tag == DT_RELA)
			address = value;
		if (tag == DT_RELASZ)
			size = value;
	}
	if (size && (image->relocations = rqs_image_at(image, address, size)))
		image->relocation_count = size / sizeof(Elf64_Rela);
}

int rqs_image_open(struct rqs_image *image, int fd)
{
	const Elf64_Phdr *dynamic = NULL;

	memset(image, 0, sizeof(*image));
	int error = readable(fd);
	if (error)
		return error;
	elf_version(EV_CURRENT);
	image->elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!image->elf || !usable_header(image->elf, image) || !add_segments(image, &dynamic))
		return 1;
	if (dynamic)
		read_dynamic(image, dynamic);
	return 0;
}

void rqs_image_close(struct rqs_image *image)
{
	elf_end(image->elf);
	image->elf = NULL;
}

const uint8_t *rqs_image_segment(struct rqs_image *image, struct rqs_segment *segment)
{
	if (!segment->bytes && segment->filled) {
		Elf_Data *data =
		    elf_getdata_rawchunk(image->elf, (int64_t)segment->offset, segment->filled, ELF_T_BYTE);

		if (data && data->d_size == segment->filled)
			segment->bytes = data->d_buf;
	}
	return segment->bytes;
}

const uint8_t *rqs_image_from(struct rqs_image *image, uint64_t address, uint64_t *left)
{
	for (size_t i = 0; i < image->segment_count; i++) {
		struct rqs_segment *segment = &image->segments[i];
		uint64_t at = address - segment->address;

		if (address >= segment->address && at < segment->filled) {
			const uint8_t *bytes = rqs_image_segment(image, segment);

			*left = segment->filled - at;
			return bytes ? bytes + at : NULL;
		}
	}
	return NULL;
}

const uint8_t *rqs_image_at(struct rqs_image *image, uint64_t address, uint64_t size)
{
	uint64_t left = 0;
	const uint8_t *bytes = rqs_image_from(image, address, &left);

	return bytes && size <= left ? bytes : NULL;
}

bool rqs_image_holds(const struct rqs_image *image, uint64_t address, uint64_t size)
{
	for (size_t i = 0; i < image->segment_count; i++) {
		const struct rqs_segment *segment = &image->segments[i];
		uint64_t at = address - segment->address;

		if (address >= segment->address && at < segment->size)
			return size <= segment->size - at;
	}
	return false;
}

uint64_t rqs_image_pointer(struct rqs_image *image, uint64_t address)
{
	for (size_t i = 0; i < image->relocation_count; i++) {
		const uint8_t *entry = image->relocations + i * sizeof(Elf64_Rela);

		if (rqs_load64(entry) == address)
			return ELF64_R_TYPE(rqs_load64(entry + 8)) == R_X86_64_RELATIVE ? rqs_load64(entry + 16) : 0;
	}
	const uint8_t *bytes = rqs_image_at(image, address, sizeof(uint64_t));
	return bytes ? rqs_load64(bytes) : 0;
}

bool rqs_image_section(struct rqs_image *image, const char *name, uint64_t *address, uint64_t *size)
{
	size_t names;
	Elf_Scn *section = NULL;

	if (elf_getshdrstrndx(image->elf, &names))
		return false;
	while ((section = elf_nextscn(image->elf, section))) {
		const Elf64_Shdr *header = elf64_getshdr(section);
		const char *found = header ? elf_strptr(image->elf, names, header->sh_name) : NULL;

		if (found && !strcmp(found, name) && header->sh_flags & SHF_ALLOC) {
			*address = header->sh_addr;
			*size = header->sh_size;
			return true;
		}
	}
	return false;
}
