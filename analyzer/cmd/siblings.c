/* siblings.c - see siblings.h. Both folders of an installation are looked into, whichever one we run from. */
#include "cmd/siblings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACER "reqscope-place"

static const char *const folders[] = {"", "../lib/reqscope/", "../../bin/"};

/* Our own path, with its last slash at *name. False: /proc isn't mounted. */
static bool find_self(char *path, char **name)
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);

	path[length > 0 ? length : 0] = 0;
	*name = strrchr(path, '/');
	return *name != NULL;
}

static bool find(const char *folder, const char *name, char *path)
{
	char tried[2 * PATH_MAX];

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(tried, sizeof(tried), "%s/%s%s", folder, folders[i], name);
		if (realpath(tried, path))
			return true;
	}
	*path = 0;
	return false;
}

bool rqs_siblings_find(struct rqs_siblings *siblings)
{
	char self[PATH_MAX], *name;

	siblings->program[0] = siblings->placer[0] = 0;
	if (!find_self(self, &name))
		return false;
	bool is_placer = !strcmp(name + 1, PLACER);
	if (!is_placer)
		strcpy(siblings->program, self);
	*name = 0;
	if (is_placer)
		find(self, "reqscope", siblings->program);
	if (!find(self, PLACER, siblings->placer))
		strcpy(siblings->placer, siblings->program);
	return true;
}

bool rqs_siblings_library(const char *name, char *path)
{
	char self[PATH_MAX], *slash;

	*path = 0;
	if (!find_self(self, &slash))
		return false;
	*slash = 0;
	return find(self, name, path);
}
