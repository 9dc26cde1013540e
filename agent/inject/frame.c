/* frame.c - see frame.h. */
#include "inject/frame.h"

#include "inject/interrupted.h"

#include <string.h>
#include <ucontext.h>

#define XSTATE_AT 1024u /* in the frame; of 64 bytes' alignment */

/* asm/sigcontext.h: what marks an extended state, at its end and in the bytes that software may use. */
#define SOFTWARE_BYTES 464
#define XSTATE_MAGIC_1 0x46505853u
#define XSTATE_MAGIC_2 0x46505845u
#define CONTEXT_FLAGS 7u /* UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */

size_t rqs_frame_size(const struct rqs_tracee *tracee)
{
	return XSTATE_AT + tracee->xstate_size + sizeof(uint32_t);
}

static void fill_registers(gregset_t to, const struct user_regs_struct *r)
{
	bool again = rqs_is_interrupted(r) || ((int64_t)r->orig_rax >= 0 && rqs_is_restarted((int64_t)r->rax));

	to[REG_R8] = (greg_t)r->r8;
	to[REG_R9] = (greg_t)r->r9;
	to[REG_R10] = (greg_t)r->r10;
	to[REG_R11] = (greg_t)r->r11;
	to[REG_R12] = (greg_t)r->r12;
	to[REG_R13] = (greg_t)r->r13;
	to[REG_R14] = (greg_t)r->r14;
	to[REG_R15] = (greg_t)r->r15;
	to[REG_RDI] = (greg_t)r->rdi;
	to[REG_RSI] = (greg_t)r->rsi;
	to[REG_RBP] = (greg_t)r->rbp;
	to[REG_RBX] = (greg_t)r->rbx;
	to[REG_RDX] = (greg_t)r->rdx;
	to[REG_RAX] = (greg_t)(again ? r->orig_rax : r->rax);
	to[REG_RCX] = (greg_t)r->rcx;
	to[REG_RSP] = (greg_t)r->rsp;
	to[REG_RIP] = (greg_t)(again ? r->rip - RQS_SYSCALL_SIZE : r->rip);
	to[REG_EFL] = (greg_t)r->eflags;
	to[REG_CSGSFS] = (greg_t)(r->cs | r->ss << 48);
}

/* sigaltstack's flags are ones that there are not: the stack for signals stays what it is. */
bool rqs_frame_write(struct rqs_tracee *tracee, uint64_t at)
{
	static uint8_t xstate[RQS_XSTATE_MAX + 4];
	uint64_t features, state_at = at + XSTATE_AT;
	uint32_t size = (uint32_t)tracee->xstate_size, end = XSTATE_MAGIC_2;
	ucontext_t context;

	memcpy(xstate, tracee->xstate, size);
	memcpy(&features, xstate + SOFTWARE_BYTES, sizeof(features)); /* where ptrace tells them */
	uint32_t software[12] = {XSTATE_MAGIC_1, size + sizeof(end), (uint32_t)features, (uint32_t)(features >> 32),
				 size};
	memcpy(xstate + SOFTWARE_BYTES, software, sizeof(software));
	memcpy(xstate + size, &end, sizeof(end));

	memset(&context, 0, sizeof(context));
	context.uc_flags = CONTEXT_FLAGS;
	context.uc_stack.ss_flags = -1;
	fill_registers(context.uc_mcontext.gregs, &tracee->registers);
	memcpy(&context.uc_mcontext.fpregs, &state_at, sizeof(state_at));
	memcpy(&context.uc_sigmask, &tracee->mask, sizeof(tracee->mask));
	return size <= RQS_XSTATE_MAX && size >= SOFTWARE_BYTES + sizeof(software) &&
	       rqs_tracee_write(tracee, at, &context, offsetof(ucontext_t, uc_sigmask) + sizeof(tracee->mask)) &&
	       rqs_tracee_write(tracee, state_at, xstate, size + sizeof(end));
}
