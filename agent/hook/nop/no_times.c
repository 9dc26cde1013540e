/* no_times.c - in the place of py_times.c, for an agent that measures requests' memory alone (make bench). */
#include "python/py.h"

uint64_t rqs_py_clock(const struct rqs_py_thread *thread)
{
	(void)thread;
	return 0;
}

uint64_t rqs_py_loop_delay(const struct rqs_py_thread *thread, const struct rqs_call *call)
{
	(void)thread;
	(void)call;
	return UINT64_MAX;
}

void rqs_py_waited(uint64_t ticks)
{
	(void)ticks;
}
