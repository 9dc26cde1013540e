/* command.c - what all commands share: complaints and usage texts. */
#include "cmd/command.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void rqs_complain(const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	/* Names of processes and the like are whatever their owners like; UTF-8 stays, control characters don't. */
	for (char *s = text; s && *s; s++)
		if (iscntrl((unsigned char)*s))
			*s = '?';
	fprintf(stderr, "reqscope: %s\n", text ? text : "out of memory");
	free(text);
}

void rqs_print_usage(const struct rqs_command *command)
{
	fputs(command->usage, stdout);
}
