/* interpreter.c - see interpreter.h. */
#include "hook/interpreter.h"

#include "os/sys.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel's own limits: what it reads of a file to tell its format, scripts run by scripts, program headers. */
#define HEAD_SIZE 256
#define SCRIPTS_MAX 5
#define SEGMENTS_MAX (65536 / sizeof(Elf64_Phdr))

#define SEGMENTS_AT_ONCE 8
#define NOTES_MAX 16

union head {
	char text[HEAD_SIZE];
	Elf64_Ehdr elf;
};

static bool read_at(int fd, void *to, size_t n, uint64_t offset)
{
	return rqs_sys4(SYS_pread64, fd, to, n, offset) == (long)n;
}

/* ---- names ---- */

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool starts_with(const char *s, const char *start)
{
	return !strncmp(s, start, strlen(start));
}

static enum rqs_interpreter kind_of_loader(const char *name)
{
	static const char *const glibc[] = {"ld-linux", "ld-lsb", "ld-2."};

	if (starts_with(name, "ld-musl-"))
		return RQS_INTERPRETER_MUSL;
	for (size_t i = 0; i < sizeof(glibc) / sizeof(glibc[0]); i++)
		if (starts_with(name, glibc[i]))
			return RQS_INTERPRETER_GLIBC;
	return RQS_INTERPRETER_OTHER;
}

/* ---- loaders ---- */

static enum rqs_interpreter kind_of_loader_segment(int fd, const Elf64_Phdr *segment)
{
	char path[HEAD_SIZE];
	size_t n = segment->p_filesz < sizeof(path) ? (size_t)segment->p_filesz : sizeof(path) - 1;

	/* Of a long path the end tells. */
	if (!n || !read_at(fd, path, n, segment->p_offset + segment->p_filesz - n))
		return RQS_INTERPRETER_UNKNOWN;
	path[n] = 0;
	return kind_of_loader(base_of(path));
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
		if (!read_at(fd, &note, sizeof(note), segment->p_offset + at))
			return false;
		if (note.head.n_namesz == 4 && note.head.n_type == 4 && !memcmp(note.name, "Go\0", 4))
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

	return (segment->p_flags & PF_W) && read_at(fd, start, sizeof(start), segment->p_offset) &&
	       !memcmp(start, magic, sizeof(start));
}

/* Go's own linker names a loader in position-independent programs, which then has nothing to load. */
static bool needs_libraries(int fd, const Elf64_Phdr *segment)
{
	Elf64_Dyn entry;

	for (uint64_t at = 0; at + sizeof(entry) <= segment->p_filesz; at += sizeof(entry)) {
		if (!read_at(fd, &entry, sizeof(entry), segment->p_offset + at) || entry.d_tag == DT_NEEDED)
			return true;
		if (entry.d_tag == DT_NULL)
			break;
	}
	return false;
}

/* ---- programs ---- */

/* What the segments of one tell. */
struct traits {
	bool has_loader;
	bool needs_libraries;
	bool is_go;
	Elf64_Phdr loader;
};

static void look_at_segment(int fd, const Elf64_Phdr *segment, struct traits *traits)
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

static bool look_at_segments(int fd, const Elf64_Ehdr *elf, struct traits *traits)
{
	Elf64_Phdr segments[SEGMENTS_AT_ONCE];

	for (size_t i = 0; i < elf->e_phnum; i++) {
		size_t at = i % SEGMENTS_AT_ONCE, left = elf->e_phnum - i;

		if (at == 0 &&
		    !read_at(fd, segments, (left < SEGMENTS_AT_ONCE ? left : SEGMENTS_AT_ONCE) * sizeof(segments[0]),
			     elf->e_phoff + i * sizeof(segments[0])))
			return false;
		look_at_segment(fd, &segments[at], traits);
	}
	return true;
}

static enum rqs_interpreter kind_of_elf(int fd, const Elf64_Ehdr *elf)
{
	struct traits traits = {.is_go = false};

	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != EM_X86_64)
		return RQS_INTERPRETER_OTHER;
	if (elf->e_phentsize != sizeof(Elf64_Phdr) || !elf->e_phnum || elf->e_phnum > SEGMENTS_MAX ||
	    !look_at_segments(fd, elf, &traits))
		return RQS_INTERPRETER_UNKNOWN;
	if (traits.is_go && !traits.needs_libraries)
		return RQS_INTERPRETER_STATIC_GO;
	return traits.has_loader ? kind_of_loader_segment(fd, &traits.loader) : RQS_INTERPRETER_STATIC;
}

/* ---- scripts ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The program that a script's first line names, into path. The kernel wants all of it within the head. */
static bool find_script_program(const char *head, char *path)
{
	size_t from = 2, to;

	if (head[0] != '#' || head[1] != '!')
		return false;
	while (from < HEAD_SIZE && is_blank(head[from]))
		from++;
	for (to = from; to < HEAD_SIZE && head[to] && head[to] != '\n' && !is_blank(head[to]); to++)
		path[to - from] = head[to];
	if (to == from || to == HEAD_SIZE)
		return false;
	path[to - from] = 0;
	return true;
}

/* ---- files ---- */

static bool is_file(const char *path)
{
	struct stat about;

	return rqs_sys4(SYS_newfstatat, AT_FDCWD, path, &about, 0) == 0 && S_ISREG(about.st_mode);
}

/* Reads the start of a file; *kind is set where that is an ELF file's. False: it can't be read. */
static bool look_at(const char *path, union head *head, enum rqs_interpreter *kind)
{
	/* A pipe or a device isn't opened: that alone may have an effect. */
	long fd = is_file(path) ? rqs_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0) : -1;

	if (fd < 0)
		return false;
	memset(head, 0, sizeof(*head));
	long n = rqs_sys4(SYS_pread64, fd, head, sizeof(*head), 0);
	if (n >= (long)sizeof(head->elf) && !memcmp(head->elf.e_ident, ELFMAG, SELFMAG))
		*kind = kind_of_elf((int)fd, &head->elf);
	rqs_sys1(SYS_close, fd);
	return n > 0;
}

enum rqs_interpreter rqs_interpreter_of(const char *path)
{
	char program[HEAD_SIZE];
	union head head;

	for (int depth = 0; depth <= SCRIPTS_MAX; depth++) {
		enum rqs_interpreter kind = RQS_INTERPRETER_UNKNOWN;

		if (!look_at(path, &head, &kind))
			return RQS_INTERPRETER_UNKNOWN;
		/* A loader started by its name has none itself, and preloads what it is told to. */
		if (kind == RQS_INTERPRETER_STATIC && kind_of_loader(base_of(path)) != RQS_INTERPRETER_OTHER)
			return kind_of_loader(base_of(path));
		/* The kernel is given the script, in which nothing can be placed. */
		if (kind == RQS_INTERPRETER_STATIC_GO && depth)
			return RQS_INTERPRETER_STATIC;
		if (kind != RQS_INTERPRETER_UNKNOWN || !find_script_program(head.text, program))
			return kind;
		path = program;
	}
	return RQS_INTERPRETER_UNKNOWN;
}

#ifdef __GLIBC__
#define DEFAULT_FOLDERS "/bin:/usr/bin"
#else
#define DEFAULT_FOLDERS "/usr/local/bin:/bin:/usr/bin"
#endif

/* What execvp tries next: the name below the first of the folders. False: too long to be a path. */
static bool join(char *to, const char *folder, size_t n, const char *name)
{
	size_t length = strlen(name);

	if (n + 1 + length + 1 > PATH_MAX)
		return false;
	memcpy(to, folder, n);
	if (n)
		to[n++] = '/'; /* an empty folder is the working directory */
	memcpy(to + n, name, length + 1);
	return true;
}

enum rqs_interpreter rqs_interpreter_of_command(const char *name, const char *folders, char path[PATH_MAX])
{
	if (strchr(name, '/') || !*name)
		return join(path, "", 0, name) ? rqs_interpreter_of(path) : RQS_INTERPRETER_UNKNOWN;
	if (!folders)
		folders = DEFAULT_FOLDERS;
	for (;;) {
		size_t n = strcspn(folders, ":");

		if (join(path, folders, n, name) && is_file(path) && rqs_sys2(SYS_access, path, X_OK) == 0)
			return rqs_interpreter_of(path);
		if (!folders[n])
			return RQS_INTERPRETER_UNKNOWN;
		folders += n + 1;
	}
}

void rqs_interpreter_print_descriptor(char number[RQS_DESCRIPTOR_NUMBER], int fd)
{
	char digits[RQS_DESCRIPTOR_NUMBER];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + fd % 10);
	while (fd /= 10);
	while (n)
		*number++ = digits[--n];
	*number = 0;
}

enum rqs_interpreter rqs_interpreter_of_descriptor(int fd)
{
	/* It may be open for nothing but execution (O_PATH). */
	static const char folder[] = "/proc/self/fd/";
	char path[sizeof(folder) + RQS_DESCRIPTOR_NUMBER];

	if (fd < 0)
		return RQS_INTERPRETER_UNKNOWN;
	memcpy(path, folder, sizeof(folder));
	rqs_interpreter_print_descriptor(path + sizeof(folder) - 1, fd);
	return rqs_interpreter_of(path);
}
