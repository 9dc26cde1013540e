/* go.c - Go, in a program with C code in it; in others there is no library of ours (agent/go). */
#include "hook/go_program.h"
#include "runtime/runtime.h"

static bool detect(char *version, size_t size)
{
	return rqs_go_program_is(version, size);
}

const struct rqs_runtime_ops rqs_runtime_go = { .id = RQS_RUNTIME_GO, .detect = detect };
