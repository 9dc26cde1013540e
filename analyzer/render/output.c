/* output.c - standard output, or a temporary name that is renamed. */
#include "render/output.h"
#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool want_color(void)
{
	const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_color && *no_color) && !(terminal && !strcmp(terminal, "dumb"));
}

/* COLUMNS says it better than the terminal where somebody has set it. 0: no terminal. */
static unsigned terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (columns && atoi(columns) > 0)
		return (unsigned)atoi(columns);
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) ? 0 : size.ws_col;
}

static char *to_stdout(rqs_write write, void *context)
{
	write(stdout, context);
	/* EPIPE is the reader's choice: `reqscope report x | head`. */
	if (fflush(stdout) && errno != EPIPE)
		return rqs_format("standard output: %s", strerror(errno));
	return NULL;
}

/* A pipe, a terminal, /dev/null: there is nothing to protect, and nothing that a rename could replace. */
static bool is_special(const char *path)
{
	struct stat st;

	return !stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

char *rqs_output_check(const char *path, bool force)
{
	struct stat st;

	if (!path || is_special(path) || lstat(path, &st))
		return NULL;
	if (S_ISDIR(st.st_mode))
		return rqs_format("%s is a directory; give a file name with -o", path);
	return force ? NULL : rqs_format("%s exists; -f replaces it", path);
}

/* Publishes the finished file. Without force a file that came in the meantime is left alone. */
static int publish(const char *temporary, const char *path, bool force)
{
	if (force)
		return rename(temporary, path) ? -errno : 0;
	if (!renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (link(temporary, path)) /* a file system without RENAME_NOREPLACE */
		return -errno;
	unlink(temporary);
	return 0;
}

/* *shown: whether there was something to write. */
static int write_file(rqs_write write, void *context, int fd, bool *shown)
{
	FILE *out = fdopen(fd, "w");
	int error = 0;

	if (!out) {
		error = -errno;
		close(fd);
		return error;
	}
	*shown = write(out, context);
	if (fflush(out) || ferror(out))
		error = errno ? -errno : -EIO;
	if (fclose(out) && !error)
		error = -errno;
	return error;
}

static int write_special(const char *path, rqs_write write, void *context)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool shown;

	return fd < 0 ? -errno : write_file(write, context, fd, &shown);
}

static int write_new(const char *path, bool force, mode_t mode, rqs_write write, void *context)
{
	const char *slash = strrchr(path, '/');
	int folder = slash ? (int)(slash + 1 - path) : 0;
	/* Hidden: who reads a folder of such files at the same time mustn't take it for one of them. */
	char *temporary = rqs_format("%.*s.%s.XXXXXX", folder, path, path + folder);
	mode_t mask = umask(0);
	int fd = mkostemp(temporary, O_CLOEXEC), error = fd < 0 ? -errno : 0;
	bool shown = false;

	umask(mask);
	if (!error)
		error = fchmod(fd, mode & ~mask) ? -errno : 0;
	if (!error)
		error = write_file(write, context, fd, &shown);
	if (!error && shown)
		error = publish(temporary, path, force);
	if (fd >= 0 && (error || !shown))
		unlink(temporary);
	free(temporary);
	return error;
}

char *rqs_output_stream(const char *path, bool force, mode_t mode, rqs_write write, void *context)
{
	char *problem;

	if (!path)
		return to_stdout(write, context);
	problem = rqs_output_check(path, force);
	if (problem)
		return problem;
	int error =
	    is_special(path) ? write_special(path, write, context) : write_new(path, force, mode, write, context);
	return error ? rqs_format("%s: %s", path, strerror(-error)) : NULL;
}

struct rendering {
	const struct rqs_format *format;
	struct rqs_rendering what;
};

static bool render(FILE *out, void *context)
{
	const struct rendering *r = context;

	r->format->render(out, &r->what);
	return true;
}

char *rqs_output(const struct rqs_format *format, struct rqs_rendering what, const char *path, bool force)
{
	struct rendering r = {format, what};

	r.what.color = !path && want_color();
	r.what.width = path ? 0 : terminal_width();
	return rqs_output_stream(path, force, 0666, render, &r);
}
