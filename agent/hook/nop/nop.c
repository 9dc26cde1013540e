/*
 * nop.c - an agent that does nothing: the same interposers, never switched
 * on. The baseline of every overhead figure (make bench).
 */
#include "hook/got.h"
#include "hook/hook.h"
#include "hook/membership.h"
#include "runtime/runtime.h"

struct rqs_agent rqs_agent;
struct rqs_session rqs_session;
uint32_t rqs_got_due;
_Thread_local struct rqs_worker rqs_self;
_Thread_local uint32_t rqs_in_vfork;

void rqs_activate(void)
{
}

bool rqs_is_vforked(void)
{
	return false;
}

bool rqs_enter(struct rqs_call *call)
{
	(void)call;
	return false;
}

void rqs_got_look(void)
{
}

void rqs_activate_python(void)
{
}

void rqs_node_waits(void)
{
}

void rqs_session_count_unplaced(void)
{
}
