/* py_api.c - see py_api.h. */
#include "python/py_api.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

struct rqs_py_api rqs_py;

/* Not RTLD_NEXT: of a static python the symbols are in the executable, before us. */
#define FIND(name) (*(void **)(void *)&rqs_py.name = dlsym(RTLD_DEFAULT, #name), rqs_py.name != NULL)

static bool find_thread_state(void)
{
	/* The second is the private name before 3.13. */
	void *found = dlsym(RTLD_DEFAULT, "PyThreadState_GetUnchecked");

	if (!found)
		found = dlsym(RTLD_DEFAULT, "_PyThreadState_UncheckedGet");
	*(void **)(void *)&rqs_py.thread_state = found;
	return found != NULL;
}

/* The last one that was tried; how later ones keep contexts isn't known. */
#define NEWEST_MINOR 14

static bool is_known_version(const char *version)
{
	char *end;

	return version[0] == '3' && version[1] == '.' && strtol(version + 2, &end, 10) <= NEWEST_MINOR && *end == '.';
}

bool rqs_py_find(void)
{
#define AND_FIND(result, name, parameters) &&FIND(name)
	bool found = true RQS_PY_FUNCTIONS(AND_FIND);
#undef AND_FIND
	/* Only builds without a GIL have its lock's (Include/internal/pycore_lock.h). */
	const char *(*version)(void) = NULL;

	*(void **)(void *)&version = dlsym(RTLD_DEFAULT, "Py_GetVersion");
	rqs_py.is_free_threaded = version && strstr(version(), "free-threading");
	return found && version && is_known_version(version()) && find_thread_state();
}
