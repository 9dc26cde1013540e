/*
 * sys.h - system calls made directly: no errno, no cancellation point, no
 * symbol that another library may interpose. They return the result or -errno.
 */
#ifndef REQSCOPE_SYS_H
#define REQSCOPE_SYS_H

#include "reqscope/kernel.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline long rqs_syscall6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#define rqs_sys0(n) rqs_syscall6((n), 0, 0, 0, 0, 0, 0)
#define rqs_sys1(n, a) rqs_syscall6((n), (long)(a), 0, 0, 0, 0, 0)
#define rqs_sys2(n, a, b) rqs_syscall6((n), (long)(a), (long)(b), 0, 0, 0, 0)
#define rqs_sys3(n, a, b, c) rqs_syscall6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define rqs_sys4(n, a, b, c, d) rqs_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define rqs_sys5(n, a, b, c, d, e) rqs_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define rqs_sys6(n, a, b, c, d, e, f) \
	rqs_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/*
 * Can the host's memory at p be read, n > 0 bytes within two pages? Asks for
 * a signal mask to be set from it in a way that there is none of: EFAULT comes
 * before EINVAL. The mask is of 8 bytes.
 */
static inline bool rqs_readable(const void *p, size_t n)
{
	const char *s = p;

	return rqs_sys4(SYS_rt_sigprocmask, -1, s, NULL, 8) != -EFAULT &&
	       (n <= 8 || rqs_sys4(SYS_rt_sigprocmask, -1, s + n - 8, NULL, 8) != -EFAULT);
}

#endif
