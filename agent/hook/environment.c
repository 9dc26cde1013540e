/*
 * environment.c - lets the children of a recorded process join its session:
 * the token and the library that fits in their environment, the placer before
 * Go programs, and nothing else touched. Works on the caller's memory, as it also runs in vfork children.
 */
#include "hook/membership.h"
#include "os/sys.h"

#include <unistd.h>

static const char preload_name[] = "LD_PRELOAD=";

static size_t length_of(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static bool starts_with(const char *s, const char *start)
{
	while (*start)
		if (*s++ != *start++)
			return false;
	return true;
}

static char *append(char *to, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*to++ = s[i];
	*to = 0;
	return to;
}

/* ---- the entries of a LD_PRELOAD, parted by spaces or colons ---- */

static size_t entry_length(const char *list)
{
	size_t n = 0;

	while (list[n] && list[n] != ':' && list[n] != ' ')
		n++;
	return n;
}

static const char *next_entry(const char *entry)
{
	entry += entry_length(entry);
	return *entry ? entry + 1 : entry;
}

/* Is an entry that library, by its file name? Paths may differ. */
static bool is_library(const char *entry, const char *library)
{
	size_t n = entry_length(entry), base = length_of(library), length = 0;

	for (; base && library[base - 1] != '/'; base--)
		length++;
	return length && n >= length && (n == length || entry[n - length - 1] == '/') &&
	       starts_with(entry + n - length, library + base);
}

static bool names_library(const char *list, const char *library)
{
	for (; *list; list = next_entry(list))
		if (is_library(list, library))
			return true;
	return false;
}

static bool is_ours(const char *entry)
{
	return is_library(entry, rqs_session.library) || is_library(entry, rqs_session.sibling);
}

/* The library in the place of what is ours in the list, or before all; where there is none, the others alone. */
static void write_preload(char *to, const char *list, const char *library)
{
	bool missing = library && !names_library(list, rqs_session.library) &&
		       !names_library(list, rqs_session.sibling);
	char *start = to = append(to, preload_name, sizeof(preload_name) - 1);

	if (missing) {
		to = append(to, library, length_of(library));
		library = NULL;
	}
	for (; *list; list = next_entry(list)) {
		const char *entry = list;
		size_t n = entry_length(entry);

		if (is_ours(entry)) {
			entry = library;
			n = library ? length_of(library) : 0;
			library = NULL;
		}
		if (n && to != start)
			to = append(to, ":", 1);
		to = append(to, entry, n);
	}
}

/* ---- environments ---- */

static char *const *find(char *const *envp, const char *name)
{
	for (; *envp; envp++)
		if (starts_with(*envp, name))
			return envp;
	return NULL;
}

static const char *preload_in(char *const *envp)
{
	char *const *found = find(envp, preload_name);

	return found ? *found + sizeof(preload_name) - 1 : "";
}

const char *rqs_session_library(enum rqs_interpreter interpreter)
{
	switch (interpreter) {
	case RQS_INTERPRETER_OTHER:
		return NULL;
	case RQS_INTERPRETER_OWN:
	case RQS_INTERPRETER_UNKNOWN:
	case RQS_INTERPRETER_STATIC: /* for those that it starts */
	case RQS_INTERPRETER_STATIC_GO:
		return rqs_session.library;
	default:
		return rqs_sys2(SYS_access, rqs_session.sibling, F_OK) ? NULL : rqs_session.sibling;
	}
}

bool rqs_session_in_environment(char *const *envp, const char *library)
{
	const char *list = preload_in(envp);
	bool own = names_library(list, rqs_session.library), sibling = names_library(list, rqs_session.sibling);

	if (!library)
		return !own && !sibling;
	return own == (library == rqs_session.library) && sibling == (library == rqs_session.sibling) &&
	       find(envp, RQS_ENV_SESSION "=");
}

size_t rqs_session_environment_size(char *const *envp)
{
	size_t n = 0;

	while (envp[n])
		n++;
	return n + 3;
}

size_t rqs_session_preload_size(char *const *envp, const char *library)
{
	return sizeof(preload_name) + (library ? length_of(library) + 1 : 0) + length_of(preload_in(envp));
}

void rqs_session_environment(char *const *envp, const char *library, char **to, char *preload)
{
	char *const *had = find(envp, preload_name);
	bool has_session = find(envp, RQS_ENV_SESSION "=") != NULL;

	write_preload(preload, preload_in(envp), library);
	/* An empty one isn't passed on: had there been none of ours, there would be no variable. */
	if (!preload[sizeof(preload_name) - 1])
		preload = NULL;
	for (; *envp; envp++) {
		if (envp != had)
			*to++ = *envp;
		else if (preload)
			*to++ = preload;
	}
	if (!had && preload)
		*to++ = preload;
	if (!has_session && library)
		*to++ = rqs_session.environment;
	*to = NULL;
}

/* ---- arguments ---- */

void rqs_session_placer_words(const char *option, const char *program, char *const *argv, char **to)
{
	*to++ = rqs_session.placer;
	*to++ = (char *)"place";
	*to++ = (char *)(uintptr_t)option;
	*to++ = (char *)(uintptr_t)program;
	*to++ = (char *)"--";
	do
		*to++ = *argv;
	while (*argv++);
}
