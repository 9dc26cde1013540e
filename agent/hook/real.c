/* real.c - finds the functions behind our symbols. */
#include "hook/hook.h"

#include <dlfcn.h>

struct rqs_real rqs_real;

void rqs_real_find(void)
{
	/* Idempotent: threads that race here store the same addresses. */
#define FIND(result, name, parameters) \
	rqs_store((void **)(void *)&rqs_real.name, dlsym(RTLD_NEXT, #name));
	RQS_REAL_LIST(FIND)
#undef FIND
}
