/* real.c - finds the functions behind our symbols. */
#include "hook/hook.h"
#include "hook/objects.h"

struct rqs_real rqs_real;

void rqs_real_find(void)
{
	/* Idempotent: threads that race here store the same addresses. */
#define FIND(result, name, parameters) \
	rqs_store((void **)(void *)&rqs_real.name, rqs_objects_next(#name));
	RQS_REAL_LIST(FIND)
#undef FIND
}
