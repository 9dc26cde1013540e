/*
 * kernel.h - what the kernel has and the headers of an older C library don't:
 * Debian 11's stop at Linux 5.4 or so. Numbers as in Linux's
 * arch/x86/entry/syscalls/syscall_64.tbl, and include/uapi/linux/close_range.h.
 */
#ifndef REQSCOPE_KERNEL_H
#define REQSCOPE_KERNEL_H

#include <sys/syscall.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif

#endif
