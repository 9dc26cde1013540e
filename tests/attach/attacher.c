/*
 * attacher.c - attaching and detaching by themselves, for tests:
 *    attacher attach PID TOKEN [LIBRARY MUSL-LIBRARY] | attacher detach PID
 *    attacher cycles PID TOKEN LIBRARY MUSL-LIBRARY COUNT
 * Prints the result and either the reason, or for how long a thread was
 * stopped, in ms; of cycles that of each call, up to the first that fails.
 */
#include "inject/attach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int print(const struct rqs_attachment *attachment, int error)
{
	if (error)
		printf("%d %s\n", error, attachment->why);
	else
		printf("0 %.3f\n", (double)attachment->stopped_ns / 1e6);
	return error;
}

static int cycles(const struct rqs_attach_order *order, int count)
{
	const struct timespec pause_ = {.tv_nsec = 20000000};
	struct rqs_attachment attachment;
	int error = 0;

	for (int i = 0; i < count && !error; i++) {
		error = print(&attachment, rqs_attach(&attachment, order));
		if (error)
			break;
		nanosleep(&pause_, NULL);
		error = print(&attachment, rqs_detach(&attachment));
		nanosleep(&pause_, NULL);
	}
	return error;
}

int main(int argc, char **argv)
{
	struct rqs_attach_order order = {.library = "", .musl_library = "", .placer = ""};
	struct rqs_attachment attachment;

	if (argc < 3)
		return 2;
	order.pid = atoi(argv[2]);
	if (argc > 3)
		order.token = argv[3];
	if (argc > 5) {
		order.library = argv[4];
		order.musl_library = argv[5];
	}
	if (!strcmp(argv[1], "cycles") && argc == 7)
		return cycles(&order, atoi(argv[6])) != 0;
	if (!strcmp(argv[1], "attach") && order.token)
		return print(&attachment, rqs_attach(&attachment, &order)) != 0;
	return print(&attachment, rqs_detach_found(&attachment, order.pid)) != 0;
}
