/* native.c - no runtime that we know: a program whose memory is malloc's and whose threads are its tasks. */
#include "runtime/runtime.h"

static bool detect(char *version, size_t size)
{
	(void)version;
	(void)size;
	return true;
}

const struct rqs_runtime_ops rqs_runtime_native = { .id = RQS_RUNTIME_NATIVE, .detect = detect };
