/* py_api.c - see py_api.h. */
#include "hook/objects.h"
#include "python/py_api.h"

#include <stdlib.h>
#include <string.h>

struct rqs_py_api rqs_py;

/* Anywhere: of a static python they are in the executable, before us. */
#define FIND(name) (*(void **)(void *)&rqs_py.name = rqs_objects_any(#name, NULL), rqs_py.name != NULL)

static bool find_thread_state(void)
{
	/* The second is the private name before 3.13. */
	void *found = rqs_objects_any("PyThreadState_GetUnchecked", NULL);

	if (!found)
		found = rqs_objects_any("_PyThreadState_UncheckedGet", NULL);
	*(void **)(void *)&rqs_py.thread_state = found;
	return found != NULL;
}

/* The last one that was tried; how later ones keep contexts isn't known. */
#define NEWEST_MINOR 14

static bool is_known_version(const char *version)
{
	char *end;

	if (version[0] != '3' || version[1] != '.')
		return false;
	rqs_py.minor = (int)strtol(version + 2, &end, 10);
	return rqs_py.minor <= NEWEST_MINOR && *end == '.';
}

bool rqs_py_find(void)
{
#define AND_FIND(result, name, parameters) &&FIND(name)
	bool found = true RQS_PY_FUNCTIONS(AND_FIND);
#undef AND_FIND
	const char *(*version)(void) = NULL;

	*(void **)(void *)&version = rqs_objects_any("Py_GetVersion", NULL);
	*(void **)(void *)&rqs_py.interpreter = rqs_objects_any("PyInterpreterState_Get", NULL);
	/* What is counted here, and read of contexts, is so under the GIL. */
	return found && version && is_known_version(version()) && !strstr(version(), "free-threading") && find_thread_state();
}
