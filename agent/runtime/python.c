/* python.c - CPython, in the executable or a shared libpython. */
#include "hook/objects.h"
#include "runtime/runtime.h"


static bool detect(char *version, size_t size)
{
	const char *(*get_version)(void) = NULL;

	/* Documented as callable at any time; a static string such as "3.11.2 (main, ...)". */
	*(void **)(void *)&get_version = rqs_objects_any("Py_GetVersion", NULL);
	if (!get_version)
		return false;
	const char *s = get_version();
	for (size_t i = 0; s && i + 1 < size && s[i] && s[i] != ' '; i++) {
		version[i] = s[i];
		version[i + 1] = 0;
	}
	return true;
}

const struct rqs_runtime_ops rqs_runtime_python = { .id = RQS_RUNTIME_PYTHON, .detect = detect };
