/* executable.c - see executable.h. */
#include "os/executable.h"

#include "os/sys.h"

#include <fcntl.h>
#include <sys/stat.h>

#define SEGMENTS_MAX (65536 / sizeof(Elf64_Phdr)) /* the kernel's own limit */
#define SEGMENTS_AT_ONCE 8
#define NOTES_MAX 16

bool rqs_executable_read(int fd, void *to, size_t n, uint64_t offset)
{
	return rqs_sys4(SYS_pread64, fd, to, n, offset) == (long)n;
}

int rqs_executable_open(const char *path)
{
	struct stat about;

	/* A pipe or a device isn't opened: that alone may have an effect. */
	if (rqs_sys4(SYS_newfstatat, AT_FDCWD, path, &about, 0) || !S_ISREG(about.st_mode))
		return -1;
	long fd = rqs_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
	return fd < 0 ? -1 : (int)fd;
}

static bool same(const void *a, const void *b, size_t n)
{
	const char *p = a, *q = b;

	while (n && *p == *q) {
		p++;
		q++;
		n--;
	}
	return n == 0;
}

/* ---- Go ---- */

/* The linker's build id (cmd/link, elf.go) is one of the notes; their names and contents are padded. */
static bool has_go_note(int fd, const Elf64_Phdr *segment)
{
	uint64_t at = 0, padding = segment->p_align == 8 ? 7 : 3;
	struct {
		Elf64_Nhdr head;
		char name[4];
	} note;

	for (int i = 0; i < NOTES_MAX && at + sizeof(note) <= segment->p_filesz; i++) {
		if (!rqs_executable_read(fd, &note, sizeof(note), segment->p_offset + at))
			return false;
		if (note.head.n_namesz == 4 && note.head.n_type == 4 && same(note.name, "Go\0", 4))
			return true;
		at += sizeof(note.head) + ((note.head.n_namesz + padding) & ~padding);
		at += (note.head.n_descsz + padding) & ~padding;
	}
	return false;
}

/* Where there is no build id: what `go version` reads (debug/buildinfo) is where the variables begin. */
static bool has_go_variables(int fd, const Elf64_Phdr *segment)
{
	static const char magic[] = "\xff Go buildinf:";
	char start[sizeof(magic) - 1];

	return (segment->p_flags & PF_W) && rqs_executable_read(fd, start, sizeof(start), segment->p_offset) &&
	       same(start, magic, sizeof(start));
}

/* Go's own linker names a loader in position-independent programs, which then has nothing to load. */
static bool needs_libraries(int fd, const Elf64_Phdr *segment)
{
	Elf64_Dyn entry;

	for (uint64_t at = 0; at + sizeof(entry) <= segment->p_filesz; at += sizeof(entry)) {
		if (!rqs_executable_read(fd, &entry, sizeof(entry), segment->p_offset + at) || entry.d_tag == DT_NEEDED)
			return true;
		if (entry.d_tag == DT_NULL)
			break;
	}
	return false;
}

/* ---- segments ---- */

static void look_at_segment(int fd, const Elf64_Phdr *segment, struct rqs_executable *traits)
{
	switch (segment->p_type) {
	case PT_INTERP:
		if (!traits->has_loader)
			traits->loader = *segment;
		traits->has_loader = true;
		break;
	case PT_DYNAMIC:
		traits->needs_libraries = needs_libraries(fd, segment);
		break;
	case PT_NOTE:
		traits->is_go = traits->is_go || has_go_note(fd, segment);
		break;
	case PT_LOAD:
		traits->is_go = traits->is_go || has_go_variables(fd, segment);
		break;
	}
}

bool rqs_executable_look(int fd, const Elf64_Ehdr *elf, struct rqs_executable *traits)
{
	Elf64_Phdr segments[SEGMENTS_AT_ONCE];

	traits->has_loader = traits->needs_libraries = traits->is_go = false;
	if (elf->e_phentsize != sizeof(segments[0]) || !elf->e_phnum || elf->e_phnum > SEGMENTS_MAX)
		return false;

	for (size_t i = 0; i < elf->e_phnum; i++) {
		size_t at = i % SEGMENTS_AT_ONCE, left = elf->e_phnum - i;

		if (at == 0 &&
		    !rqs_executable_read(fd, segments, (left < SEGMENTS_AT_ONCE ? left : SEGMENTS_AT_ONCE) * sizeof(segments[0]),
			     elf->e_phoff + i * sizeof(segments[0])))
			return false;
		look_at_segment(fd, &segments[at], traits);
	}
	return true;
}

bool rqs_executable_is_static_go(const char *path)
{
	static const char magic[] = ELFMAG;
	struct rqs_executable traits;
	int fd = rqs_executable_open(path);
	Elf64_Ehdr elf;

	if (fd < 0)
		return false;
	bool is = rqs_executable_read(fd, &elf, sizeof(elf), 0) && same(elf.e_ident, magic, SELFMAG) &&
		  elf.e_ident[EI_CLASS] == ELFCLASS64 && elf.e_machine == EM_X86_64 &&
		  rqs_executable_look(fd, &elf, &traits) && traits.is_go && !traits.needs_libraries;
	rqs_sys1(SYS_close, fd);
	return is;
}

/* ---- how it is executed ---- */

static bool begins_with(const char *s, const char *start)
{
	while (*start && *s == *start) {
		s++;
		start++;
	}
	return !*start;
}

static bool are_same_file(const char *a, const char *b)
{
	struct stat first, second;

	return rqs_sys4(SYS_newfstatat, AT_FDCWD, a, &first, 0) == 0 &&
	       rqs_sys4(SYS_newfstatat, AT_FDCWD, b, &second, 0) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

const char *rqs_executable_lasting_name(const char *path, char room[PATH_MAX])
{
	if (!begins_with(path, "/proc/") && !begins_with(path, "/dev/fd/"))
		return path;
	long n = rqs_sys3(SYS_readlink, path, room, PATH_MAX - 1);
	if (n <= 0)
		return NULL;
	room[n] = 0;
	return are_same_file(path, room) ? room : NULL;
}

bool rqs_executable_is_traced(void)
{
	static const char name[] = "\nTracerPid:\t";
	char status[1024];
	long fd = rqs_sys3(SYS_open, "/proc/self/status", O_RDONLY | O_CLOEXEC, 0);
	long n = fd < 0 ? 0 : rqs_sys3(SYS_read, fd, status, sizeof(status) - 1);

	if (fd >= 0)
		rqs_sys1(SYS_close, fd);
	status[n > 0 ? n : 0] = 0;
	for (const char *s = status; *s; s++)
		if (begins_with(s, name))
			return s[sizeof(name) - 1] != '0';
	return false;
}
