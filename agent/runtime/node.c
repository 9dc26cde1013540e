/* node.c - Node.js. Its version isn't in reach of a plain call: the collector reads it from the executable. */
#include "runtime/runtime.h"

#include <dlfcn.h>

static bool detect(char *version, size_t size)
{
	(void)version;
	(void)size;
	return dlsym(RTLD_DEFAULT, "napi_create_function") && dlsym(RTLD_DEFAULT, "node_module_register");
}

const struct rqs_runtime_ops rqs_runtime_node = { .id = RQS_RUNTIME_NODE, .detect = detect };
