/* main.c - finds the command and runs it. */
#include "cmd/command.h"

#include <stdio.h>
#include <string.h>

#define ADDRESS(symbol) &rqs_command_##symbol,
static const struct rqs_command *const commands[] = { RQS_COMMAND_LIST(ADDRESS) };
#undef ADDRESS
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
	fputs("reqscope: what each request of a web server costs in time and memory\n\n"
	      "usage: reqscope COMMAND [ARGUMENTS]\n\ncommands:\n",
	      out);
	for (size_t i = 0; i < COMMANDS; i++)
		if (commands[i]->summary)
			fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\nexamples:\n"
	      "  reqscope run -o app.rqs -- gunicorn app:app   record a server until it ends\n"
	      "  reqscope attach 4711 -o app.rqs               record one that runs already\n"
	      "  reqscope report app.rqs                       latency and memory by route\n"
	      "  reqscope compare old.rqs new.rqs              the differences, side by side\n"
	      "\n`reqscope COMMAND --help` tells more of each.\n",
	      out);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return RQS_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return RQS_EXIT_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("reqscope " RQS_VERSION);
		return RQS_EXIT_OK;
	}
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i]->name))
			return commands[i]->run(argc - 1, argv + 1);
	rqs_complain("no command '%s'; `reqscope --help` lists them", argv[1]);
	return RQS_EXIT_USAGE;
}
