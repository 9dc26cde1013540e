/* code_file.c - see code_file.h. */
#include "unwind/code_file.h"

#include "unwind/eh_frame.h"
#include "unwind/symbols.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define CHUNK 65536u
#define PAGE 4096u
#define FILE_LIMIT (4ull << 30)
#define CHUNKS_LIMIT 2048u /* of a file that are kept: 128 MiB */
#define VDSO_LIMIT (64u << 10)

static struct rqs_code_file *files;

/* ---- bytes ---- */

static const uint8_t *chunk_of(struct rqs_code_file *file, uint64_t index)
{
	if (!file->chunks[index]) {
		uint64_t at = index * CHUNK, n = file->size - at < CHUNK ? file->size - at : CHUNK;
		uint8_t *bytes = file->chunk_count < CHUNKS_LIMIT ? malloc(CHUNK) : NULL;

		if (!bytes || pread(file->fd, bytes, n, (off_t)at) != (ssize_t)n) {
			free(bytes);
			return NULL;
		}
		file->chunks[index] = bytes;
		file->chunk_count++;
	}
	return file->chunks[index];
}

bool rqs_code_file_read(struct rqs_code_file *file, uint64_t offset, void *bytes, size_t size)
{
	if (offset > file->size || size > file->size - offset)
		return false;
	if (file->image) {
		memcpy(bytes, file->image + offset, size);
		return true;
	}
	for (size_t done = 0, n; done < size; done += n) {
		uint64_t at = offset + done, skip = at % CHUNK;
		const uint8_t *chunk = chunk_of(file, at / CHUNK);

		n = CHUNK - skip < size - done ? CHUNK - skip : size - done;
		if (!chunk)
			return false;
		memcpy((uint8_t *)bytes + done, chunk + skip, n);
	}
	return true;
}

/* ---- headers ---- */

static void note_segment(struct rqs_code_file *file, const Elf64_Phdr *header)
{
	if (header->p_type == PT_GNU_EH_FRAME)
		file->frame_header = header->p_vaddr;
	if (header->p_type == PT_LOAD && header->p_flags & PF_X && file->load_count < RQS_CODE_LOADS)
		file->loads[file->load_count++] =
		    (struct rqs_code_load){header->p_vaddr, header->p_filesz, header->p_offset};
}

static void read_headers(struct rqs_code_file *file)
{
	Elf64_Ehdr head;
	Elf64_Phdr header;

	if (!rqs_code_file_read(file, 0, &head, sizeof(head)) || memcmp(head.e_ident, ELFMAG, SELFMAG) ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB ||
	    head.e_machine != EM_X86_64 || head.e_phentsize != sizeof(header))
		return;
	for (unsigned i = 0; i < head.e_phnum; i++)
		if (rqs_code_file_read(file, head.e_phoff + i * sizeof(header), &header, sizeof(header)))
			note_segment(file, &header);
	file->elf = true;
}

bool rqs_code_file_bias(const struct rqs_code_file *file, uint64_t start, uint64_t offset, uint64_t *bias)
{
	for (uint32_t i = 0; i < file->load_count; i++) {
		const struct rqs_code_load *load = &file->loads[i];
		uint64_t first = load->offset & ~(uint64_t)(PAGE - 1);

		if (offset >= first && offset - first < load->size + (load->offset - first)) {
			*bias = start - offset + load->offset - load->address;
			return true;
		}
	}
	return false;
}

/* ---- sharing ---- */

static bool is_same(const struct rqs_code_file *file, const struct stat *status)
{
	return file->fd >= 0 && file->device == status->st_dev && file->inode == status->st_ino &&
	       file->size == (uint64_t)status->st_size && file->changed.tv_sec == status->st_mtim.tv_sec &&
	       file->changed.tv_nsec == status->st_mtim.tv_nsec;
}

static struct rqs_code_file *find_known(const struct stat *status)
{
	for (struct rqs_code_file *file = files; file; file = file->next)
		if (status ? is_same(file, status) : file->fd < 0)
			return file;
	return NULL;
}

static struct rqs_code_file *add(const struct rqs_code_file *like)
{
	struct rqs_code_file *file = malloc(sizeof(*file));

	if (!file)
		return NULL;
	*file = *like;
	file->users = 1;
	file->next = files;
	files = file;
	read_headers(file);
	return file;
}

static struct rqs_code_file *new_file(int fd, const struct stat *status)
{
	struct rqs_code_file like = {.fd = fd,
				     .size = (uint64_t)status->st_size,
				     .device = status->st_dev,
				     .inode = status->st_ino,
				     .changed = status->st_mtim};

	if (!S_ISREG(status->st_mode) || like.size > FILE_LIMIT)
		return NULL;
	like.chunks = calloc(like.size / CHUNK + 1, sizeof(*like.chunks));
	struct rqs_code_file *file = like.chunks ? add(&like) : NULL;
	if (!file)
		free(like.chunks);
	return file;
}

struct rqs_code_file *rqs_code_file_get(int fd)
{
	struct stat status;
	bool told = !fstat(fd, &status);
	struct rqs_code_file *file = told ? find_known(&status) : NULL;

	if (file)
		file->users++;
	else if (told && (file = new_file(fd, &status)))
		return file;
	close(fd);
	return file;
}

/* Its size is told by its section headers, which are its end. */
static uint64_t vdso_size(const uint8_t *image)
{
	Elf64_Ehdr head;

	memcpy(&head, image, sizeof(head));
	uint64_t size = head.e_shoff + (uint64_t)head.e_shnum * head.e_shentsize;
	return size <= VDSO_LIMIT ? size : 0;
}

struct rqs_code_file *rqs_code_file_vdso(void)
{
	const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	struct rqs_code_file *known = find_known(NULL);

	if (known) {
		known->users++;
		return known;
	}
	return image ? add(&(struct rqs_code_file){.fd = -1, .image = image, .size = vdso_size(image)}) : NULL;
}

static void free_file(struct rqs_code_file *file)
{
	rqs_symbols_free(file->symbols);
	rqs_eh_frame_free(file->eh_frame);
	for (uint64_t i = 0; file->chunks && i <= file->size / CHUNK; i++)
		free(file->chunks[i]);
	free(file->chunks);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

void rqs_code_file_put(struct rqs_code_file *file)
{
	if (!file || --file->users)
		return;
	for (struct rqs_code_file **at = &files; *at; at = &(*at)->next)
		if (*at == file) {
			*at = file->next;
			break;
		}
	free_file(file);
}
