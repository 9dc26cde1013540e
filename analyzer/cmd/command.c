/* command.c - what all commands share: complaints and usage texts. */
#include "cmd/command.h"

#include <stdarg.h>
#include <stdio.h>

void rqs_complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("reqscope: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

void rqs_print_usage(const struct rqs_command *command)
{
	fputs(command->usage, stdout);
}
