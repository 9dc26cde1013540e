/* interrupted.h - system calls that a stop has interrupted, as a thread's registers tell them. */
#ifndef REQSCOPE_INTERRUPTED_H
#define REQSCOPE_INTERRUPTED_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/user.h>

#define RQS_SYSCALL_SIZE 2u /* of the instruction */

/* In the kernel ERESTARTSYS to ERESTART_RESTARTBLOCK, which no program sees: it makes such calls again by itself. */
static inline bool rqs_is_restarted(int64_t result)
{
	return result <= -512 && result >= -516;
}

/* The thread is behind a call that ends by EINTR, although no handler may have run. */
static inline bool rqs_is_interrupted(const struct user_regs_struct *r)
{
	return (int64_t)r->orig_rax >= 0 && (int64_t)r->rax == -EINTR;
}

/* Back to the instruction, with the call's number. */
static inline void rqs_make_again(struct user_regs_struct *r)
{
	r->rip -= RQS_SYSCALL_SIZE;
	r->rax = r->orig_rax;
}

#endif
