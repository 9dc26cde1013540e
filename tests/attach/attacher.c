/*
 * attacher.c - attaching and detaching by themselves, for tests:
 *    attacher attach PID TOKEN | attacher detach PID
 * Prints the result and either the reason, or for how long a thread was
 * stopped, in ms.
 */
#include "inject/attach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct rqs_attach_order order = {.library = "", .musl_library = "", .placer = ""};
	struct rqs_attachment attachment;
	int error;

	if (argc < 3)
		return 2;
	order.pid = atoi(argv[2]);
	if (!strcmp(argv[1], "attach") && argc == 4) {
		order.token = argv[3];
		error = rqs_attach(&attachment, &order);
	} else {
		error = rqs_detach_found(&attachment, order.pid);
	}
	if (error)
		printf("%d %s\n", error, attachment.why);
	else
		printf("0 %.3f\n", (double)attachment.stopped_ns / 1e6);
	return error != 0;
}
