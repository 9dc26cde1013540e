/* waiting.c - see waiting.h. */
#include "inject/waiting.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* No futex, mmap, sched_yield. */
bool rqs_is_harmless(long number)
{
	static const short list[] = {
	    SYS_epoll_wait,      SYS_epoll_pwait, SYS_epoll_pwait2,    SYS_poll,      SYS_ppoll,
	    SYS_select,          SYS_pselect6,    SYS_accept,          SYS_accept4,   SYS_recvfrom,
	    SYS_recvmsg,         SYS_recvmmsg,    SYS_wait4,           SYS_waitid,    SYS_nanosleep,
	    SYS_clock_nanosleep, SYS_pause,       SYS_rt_sigtimedwait, SYS_sendto,    SYS_sendmsg,
	    SYS_sendfile,        SYS_connect,     SYS_shutdown,        SYS_epoll_ctl, SYS_setsockopt,
	    SYS_getsockopt,      SYS_socket,      SYS_rt_sigsuspend,
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		if (list[i] == number)
			return true;
	return false;
}

static bool read_memory(int memory, uint64_t address, void *bytes, size_t size)
{
	return pread(memory, bytes, size, (off_t)address) == (ssize_t)size;
}

bool rqs_is_behind_syscall(int memory, uint64_t address)
{
	uint8_t bytes[2];

	return read_memory(memory, address - 2, bytes, sizeof(bytes)) && bytes[0] == 0x0f && bytes[1] == 0x05;
}

/*
 * A wait with a limit that was interrupted once has another number, and goes
 * on only where it was. The instruction before may tell which it was: mov
 * $number, %eax; syscall. Else only a futex's arguments look like a futex's.
 */
static long number_before(int memory, const struct rqs_task_call *call)
{
	uint8_t bytes[7];
	uint32_t number;
	uint64_t operation = call->arguments[1] & ~0x180ull; /* private, by real time */

	if (read_memory(memory, call->address - sizeof(bytes), bytes, sizeof(bytes)) && bytes[0] == 0xb8) {
		memcpy(&number, bytes + 1, sizeof(number));
		return (long)number;
	}
	return (operation == 0 || operation == 9) && call->arguments[3] ? SYS_futex : SYS_poll;
}

/* Of a socket the limit isn't seen here; other waits the kernel makes again for the time that is left. */
static bool has_limit(long number, const uint64_t *arguments)
{
	switch (number) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
		return (int)arguments[3] > 0;
	case SYS_epoll_pwait2:
		return arguments[3] != 0;
	case SYS_rt_sigtimedwait:
		return arguments[2] != 0;
	default:
		return false;
	}
}

enum rqs_waiting rqs_waiting_in(int memory, const struct rqs_task_call *call)
{
	long number = call->number == SYS_restart_syscall ? number_before(memory, call) : call->number;

	if (number == SYS_futex)
		return RQS_WAITS_LOCKED;
	if (number == SYS_read)
		return RQS_WAITS_READING;
	if (!rqs_is_harmless(number))
		return RQS_WAITS_NOT_SAFELY;
	return has_limit(number, call->arguments) ? RQS_WAITS_LIMITED : RQS_WAITS_HARMLESS;
}
