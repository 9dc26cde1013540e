/* restriction.c - see restriction.h. */
#include "os/restriction.h"

#include "os/stamps.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>

static void switch_off(struct rqs_agent *agent)
{
	if (rqs_load(&agent->process) && !rqs_load_relaxed(&agent->off))
		rqs_count(agent, RQS_EVENT_RESTRICTED);
	rqs_store_relaxed(&agent->off, true);
}

/* A filter: what needs no system call goes on. Where the counter can't be used, reading the clock may be one. */
static void filter_comes(struct rqs_agent *agent)
{
	rqs_stamps_stop(agent);
	rqs_store_relaxed(&agent->frozen, true);
	if (rqs_load(&agent->process) && agent->region->clock != RQS_CLOCK_TSC)
		switch_off(agent);
}

/* The time stamp counter will fault, or nothing but read, write and exit is left. */
static void everything_ends(struct rqs_agent *agent)
{
	filter_comes(agent);
	switch_off(agent);
}

void rqs_restriction_prctl(struct rqs_agent *agent, long option, long value)
{
	if (option == PR_SET_SECCOMP && value == SECCOMP_MODE_FILTER)
		filter_comes(agent);
	else if ((option == PR_SET_SECCOMP && value == SECCOMP_MODE_STRICT) ||
		 (option == PR_SET_TSC && value == PR_TSC_SIGSEGV))
		everything_ends(agent);
}

void rqs_restriction_seccomp(struct rqs_agent *agent, long operation)
{
	if (operation == SECCOMP_SET_MODE_FILTER)
		filter_comes(agent);
	else if (operation == SECCOMP_SET_MODE_STRICT)
		everything_ends(agent);
}
