/*
 * restrict.c - interposers of the calls by which a process restricts what it
 * may do. From then on none but its own system calls are made in it: a filter
 * that doesn't know ours would kill it. And of syscall(), which makes any of
 * these and others without our other symbols being asked.
 */
#include "hook/arrival.h"
#include "hook/descriptor.h"
#include "hook/hook.h"
#include "os/restriction.h"
#include "reqscope/kernel.h"

#include <stdarg.h>
#include <sys/mman.h>

/* A vfork's child restricts itself alone: all that we would note is its parent's. */

static void prctl_comes(long option, long value)
{
	if (!rqs_in_vfork)
		rqs_restriction_prctl(&rqs_agent, option, value);
}

static void seccomp_comes(long operation)
{
	if (!rqs_in_vfork)
		rqs_restriction_seccomp(&rqs_agent, operation);
}

/* Variadic in the headers; the arguments are passed on whole, whatever their number. */
int rqs_prctl(int option, long a, long b, long c, long d) __asm__("prctl");

RQS_EXPORT int rqs_prctl(int option, long a, long b, long c, long d)
{
	prctl_comes(option, a);
	return RQS_REAL(prctl)(option, a, b, c, d);
}

/* All that we have reserved and not used would be brought into memory: what is used, is then. */
RQS_EXPORT int mlockall(int flags)
{
	return RQS_REAL(mlockall)(rqs_active() && (flags & MCL_CURRENT) ? flags | MCL_ONFAULT : flags);
}

long rqs_syscall(long number, long a, long b, long c, long d, long e, long f) __asm__("syscall");

/* What other symbols of ours would have seen. */
static void before_syscall(long number, long a, long b, long c)
{
	switch (number) {
	case SYS_prctl:
		prctl_comes(a, b);
		break;
	case SYS_seccomp:
		seccomp_comes(a);
		break;
	case SYS_close:
		rqs_descriptor_closing((int)a);
		break;
	case SYS_close_range:
		rqs_descriptor_closing_range((unsigned)a, (unsigned)b);
		break;
	case SYS_recvmsg:
	case SYS_recvmmsg:
		rqs_arrival_decline((int)a);
		break;
	case SYS_setsockopt:
		if (rqs_stamps_is_option((int)b, (int)c))
			rqs_arrival_decline((int)a);
		break;
	default: /* SYS_io_uring_setup */
		if (rqs_active())
			rqs_count(&rqs_agent, RQS_EVENT_IO_URING);
	}
}

static inline bool is_of_interest(long number)
{
	switch (number) {
	case SYS_prctl:
	case SYS_seccomp:
	case SYS_close:
	case SYS_close_range:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_setsockopt:
	case SYS_io_uring_setup:
		return true;
	default:
		return false;
	}
}

static inline bool makes_descriptor(long number)
{
	return number == SYS_accept || number == SYS_accept4 || number == SYS_dup || number == SYS_dup2 ||
	       number == SYS_dup3;
}

static void after_syscall(long number, long a, long result)
{
	if (number == SYS_accept || number == SYS_accept4) {
		rqs_descriptor_accepted((int)a, (int)result);
	} else if (makes_descriptor(number)) {
		/* The number was another's, by dup2, or because its end wasn't seen. */
		if (result != a)
			rqs_descriptor_closing((int)result);
		rqs_descriptor_duplicated((int)a, (int)result);
	}
}

RQS_EXPORT long rqs_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	/* Most are futexes and the like. */
	if (rqs_likely(!is_of_interest(number) && !makes_descriptor(number)))
		return RQS_REAL(syscall)(number, a, b, c, d, e, f);
	if (!makes_descriptor(number))
		before_syscall(number, a, b, c);
	long result = RQS_REAL(syscall)(number, a, b, c, d, e, f);
	if (result >= 0)
		after_syscall(number, a, result);
	return result;
}
