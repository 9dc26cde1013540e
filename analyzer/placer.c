/*
 * placer.c - the program reqscope-place: the command `place` alone.
 *
 * It is put before Go programs that are started by what is recorded, with
 * their environment. Linked statically it starts in any of these: no
 * LD_LIBRARY_PATH, LD_PRELOAD or container that lacks a library stops it.
 */
#include "cmd/command.h"

#include <string.h>

int main(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], rqs_command_place.name)) {
		rqs_complain("reqscope-place is started by what reqscope records; there is no need to call it");
		return RQS_EXIT_USAGE;
	}
	return rqs_command_place.run(argc - 1, argv + 1);
}
