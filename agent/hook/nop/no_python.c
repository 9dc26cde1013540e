/* no_python.c - in place of agent/python and memory.c: an agent without the costs of Python's requests (make bench). */
#include "hook/hook.h"
#include "python/py.h"

_Thread_local struct rqs_py_thread rqs_py_self;
bool rqs_py_on;
const struct rqs_meter rqs_meter_python;

bool rqs_py_install(void)
{
	return false;
}

void rqs_py_uninstall(uint32_t connections)
{
	(void)connections;
}

void rqs_py_forget(void)
{
}

void rqs_py_thread_starts(enum rqs_py_found found)
{
	(void)found;
}

void rqs_py_accepted(int fd)
{
	(void)fd;
}

void rqs_py_closing(int fd)
{
	(void)fd;
}

void rqs_py_received(const void *memory)
{
	(void)memory;
}

void rqs_py_was_told(int fd)
{
	(void)fd;
}

void rqs_py_received_nothing(int fd, const void *memory, bool ended)
{
	(void)fd;
	(void)memory;
	(void)ended;
}

void rqs_memory_follow(bool on)
{
	(void)on;
}

bool rqs_py_is_serving(void)
{
	return false;
}

void rqs_py_hands_over(void)
{
}

void rqs_py_wait_begins(void)
{
}

void rqs_py_wait_ends(void)
{
}
