/* interpreter.c - see interpreter.h. */
#include "hook/interpreter.h"

#include "os/executable.h"
#include "os/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel's own limits: what it reads of a file to tell its format, and scripts run by scripts. */
#define HEAD_SIZE 256
#define SCRIPTS_MAX 5

union head {
	char text[HEAD_SIZE];
	Elf64_Ehdr elf;
};

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
	if (!n || !rqs_executable_read(fd, path, n, segment->p_offset + segment->p_filesz - n))
		return RQS_INTERPRETER_UNKNOWN;
	path[n] = 0;
	return kind_of_loader(base_of(path));
}

/* ---- programs ---- */

static enum rqs_interpreter kind_of_elf(int fd, const Elf64_Ehdr *elf)
{
	struct rqs_executable traits;

	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != EM_X86_64)
		return RQS_INTERPRETER_OTHER;
	if (!rqs_executable_look(fd, elf, &traits))
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
	int fd = rqs_executable_open(path);

	if (fd < 0)
		return false;
	memset(head, 0, sizeof(*head));
	long n = rqs_sys4(SYS_pread64, fd, head, sizeof(*head), 0);
	if (n >= (long)sizeof(head->elf) && !memcmp(head->elf.e_ident, ELFMAG, SELFMAG))
		*kind = kind_of_elf(fd, &head->elf);
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
