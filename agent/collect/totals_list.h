/*
 * totals_list.h - what totals say of each process, as long a list as readers
 * take: a server that forks for each connection has tens of thousands.
 */
#ifndef REQSCOPE_TOTALS_LIST_H
#define REQSCOPE_TOTALS_LIST_H

#include <cjson/cJSON.h>

/* With some 300 to 900 bytes each, the list stays within the 4 MiB that readers take for sane. */
#define RQS_TOTALS_LISTED 4096u

struct rqs_totals_list {
	cJSON *list; /* the array, which is somebody else's */
	cJSON *rest; /* in it, the sum of those beyond; NULL: none yet */
	unsigned count;
};

/* The process's totals are the list's from now on. One without a number is the sum of some. */
void rqs_totals_list_add(struct rqs_totals_list *list, cJSON *process);

#endif
