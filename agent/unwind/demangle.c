/* demangle.c - see demangle.h. By libiberty, as gdb and binutils do it, which needs no C++ library. */
#include "unwind/demangle.h"

#include <libiberty/demangle.h>
#include <stddef.h>
#include <string.h>

#define LONGEST 8192u

char *rqs_demangle(const char *name)
{
	if (name[0] != '_' || (name[1] != 'Z' && name[1] != 'R') || strlen(name) > LONGEST)
		return NULL;
	return cplus_demangle(name, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
}
