/*
 * environment.c - lets the children of a recorded process join its session:
 * the token and our library in their environment, and nothing else touched.
 * Works on the caller's memory, as it also runs in vfork children.
 */
#include "hook/membership.h"

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

/* Is our library among the entries of a LD_PRELOAD, which spaces or colons part? By file name: paths may differ. */
static bool names_library(const char *list)
{
	const char *base = rqs_session.library, *p;

	for (p = base; *p; p++)
		if (*p == '/')
			base = p + 1;
	for (p = list; *p; p++) {
		bool begins = p == list || p[-1] == '/' || p[-1] == ':' || p[-1] == ' ';
		size_t n = length_of(base);

		if (begins && starts_with(p, base) && (!p[n] || p[n] == ':' || p[n] == ' '))
			return true;
	}
	return false;
}

static char *const *find(char *const *envp, const char *name)
{
	for (; *envp; envp++)
		if (starts_with(*envp, name))
			return envp;
	return NULL;
}

bool rqs_session_in_environment(char *const *envp)
{
	char *const *preload = find(envp, preload_name);

	return preload && names_library(*preload + sizeof(preload_name) - 1) && find(envp, RQS_ENV_SESSION "=");
}

size_t rqs_session_environment_size(char *const *envp)
{
	size_t n = 0;

	while (envp[n])
		n++;
	return n + 3;
}

size_t rqs_session_preload_size(char *const *envp)
{
	char *const *preload = find(envp, preload_name);

	return length_of(rqs_session.preload) + (preload ? length_of(*preload) : 0) + 2;
}

static char *append(char *to, const char *s)
{
	while (*s)
		*to++ = *s++;
	*to = 0;
	return to;
}

void rqs_session_environment(char *const *envp, char **to, char *preload)
{
	char *const *had = find(envp, preload_name);
	bool has_session = find(envp, RQS_ENV_SESSION "=") != NULL;
	bool complete = had && names_library(*had + sizeof(preload_name) - 1);

	for (; *envp; envp++)
		*to++ = !complete && envp == had ? preload : *envp;
	if (!complete) {
		char *end = append(preload, rqs_session.preload);

		if (had && (*had)[sizeof(preload_name) - 1]) {
			*end++ = ':';
			append(end, *had + sizeof(preload_name) - 1);
		}
		if (!had)
			*to++ = preload;
	}
	if (!has_session)
		*to++ = rqs_session.environment;
	*to = NULL;
}
