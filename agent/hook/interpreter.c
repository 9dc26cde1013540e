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

/* ---- formats ---- */

static enum rqs_interpreter kind_of_segment(int fd, const Elf64_Phdr *segment)
{
	char path[HEAD_SIZE];
	size_t n = segment->p_filesz < sizeof(path) ? (size_t)segment->p_filesz : sizeof(path) - 1;

	/* Of a long path the end tells. */
	if (!n || !read_at(fd, path, n, segment->p_offset + segment->p_filesz - n))
		return RQS_INTERPRETER_UNKNOWN;
	path[n] = 0;
	return kind_of_loader(base_of(path));
}

static enum rqs_interpreter kind_of_elf(int fd, const Elf64_Ehdr *elf)
{
	Elf64_Phdr segments[SEGMENTS_AT_ONCE];

	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != EM_X86_64)
		return RQS_INTERPRETER_OTHER;
	if (elf->e_phentsize != sizeof(segments[0]) || !elf->e_phnum || elf->e_phnum > SEGMENTS_MAX)
		return RQS_INTERPRETER_UNKNOWN;
	for (size_t i = 0; i < elf->e_phnum; i++) {
		size_t at = i % SEGMENTS_AT_ONCE, left = elf->e_phnum - i;

		if (at == 0 &&
		    !read_at(fd, segments, (left < SEGMENTS_AT_ONCE ? left : SEGMENTS_AT_ONCE) * sizeof(segments[0]),
			     elf->e_phoff + i * sizeof(segments[0])))
			return RQS_INTERPRETER_UNKNOWN;
		if (segments[at].p_type == PT_INTERP)
			return kind_of_segment(fd, &segments[at]);
	}
	return RQS_INTERPRETER_STATIC;
}

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

enum rqs_interpreter rqs_interpreter_of_command(const char *name, const char *folders)
{
	char path[PATH_MAX];

	if (strchr(name, '/') || !*name)
		return rqs_interpreter_of(name);
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

enum rqs_interpreter rqs_interpreter_of_descriptor(int fd)
{
	/* It may be open for nothing but execution (O_PATH). */
	char path[] = "/proc/self/fd/0123456789", *end = path + sizeof("/proc/self/fd/") - 1;
	char digits[10];
	size_t n = 0;

	if (fd < 0)
		return RQS_INTERPRETER_UNKNOWN;
	do
		digits[n++] = (char)('0' + fd % 10);
	while (fd /= 10);
	while (n)
		*end++ = digits[--n];
	*end = 0;
	return rqs_interpreter_of(path);
}
