/*
 * remote_call.c - see remote_call.h.
 *
 *    room: | nothing | stack | data | frame | code |
 *
 * The frame is what the kernel would have pushed for a signal's handler
 * (arch/x86/include/asm/sigframe.h), taken up by rt_sigreturn.
 */
#include "inject/remote_call.h"

#include "os/sys.h"

#include "reqscope/attach_words.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096u
#define FRAME_SIZE (32u << 10)
#define DATA_AT (PAGE + RQS_ATTACH_STACK)
#define FRAME_AT (DATA_AT + RQS_REMOTE_DATA)
#define CODE_AT (FRAME_AT + FRAME_SIZE)
#define ROOM_SIZE (CODE_AT + PAGE)
#define XSTATE_AT 1024u /* in the frame; of 64 bytes' alignment */
#define STOP_MS 1000

/* asm/sigcontext.h: what marks an extended state, at its end and in the bytes that software may use. */
#define SOFTWARE_BYTES 464
#define XSTATE_MAGIC_1 0x46505853u
#define XSTATE_MAGIC_2 0x46505845u
#define CONTEXT_FLAGS 7u      /* UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */
#define INTERRUPTED_FIRST 512 /* ERESTARTSYS and its likes, which user space never sees */
#define INTERRUPTED_LAST 516

/* What is called with what are the last words of the data: the code itself can't be written. */
#define WORDS_AT (FRAME_AT - 3 * sizeof(uint64_t))

static const uint8_t code[] = {
    0xfc,                            /* cld */
    0x4c, 0x8d, 0x1d, 0,    0, 0, 0, /* lea words(%rip), %r11: filled in */
    0x49, 0x8b, 0x03,                /* mov (%r11), %rax */
    0x49, 0x8b, 0x7b, 0x08,          /* mov 8(%r11), %rdi */
    0x49, 0x8b, 0x73, 0x10,          /* mov 16(%r11), %rsi */
    0xff, 0xd0,                      /* call *%rax */
    0x48, 0x89, 0xc3,                /* mov %rax, %rbx */
    0xb8, 0x27, 0,    0,    0,       /* mov $SYS_getpid, %eax */
    0x0f, 0x05,                      /* syscall: here a call has ended */
    0x48, 0x8d, 0x25, 0,    0, 0, 0, /* lea frame(%rip), %rsp: filled in */
    0xb8, 0x0f, 0,    0,    0,       /* mov $SYS_rt_sigreturn, %eax */
    0x0f, 0x05,                      /* syscall */
};
#define WORDS_OPERAND 4
#define WORDS_NEXT 8
#define END_AT 29
#define FRAME_OPERAND 34
#define FRAME_NEXT 38

static void set_offset(uint8_t *bytes, size_t operand, int64_t offset)
{
	int32_t value = (int32_t)offset;

	memcpy(bytes + operand, &value, sizeof(value));
}

static bool write_code(struct rqs_remote *remote)
{
	uint8_t bytes[sizeof(code)];

	memcpy(bytes, code, sizeof(code));
	set_offset(bytes, WORDS_OPERAND, (int64_t)WORDS_AT - (int64_t)(CODE_AT + WORDS_NEXT));
	set_offset(bytes, FRAME_OPERAND, (int64_t)FRAME_AT - (int64_t)(CODE_AT + FRAME_NEXT));
	return rqs_tracee_write(&remote->tracee, remote->room + CODE_AT, bytes, sizeof(bytes));
}

/* ---- the way back without us ---- */

static void fill_registers(gregset_t to, const struct user_regs_struct *r)
{
	bool again = (int64_t)r->orig_rax >= 0 &&
		     ((int64_t)r->rax == -EINTR ||
		      ((int64_t)r->rax <= -INTERRUPTED_FIRST && (int64_t)r->rax >= -INTERRUPTED_LAST));

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
	to[REG_RIP] = (greg_t)(again ? r->rip - 2 : r->rip);
	to[REG_EFL] = (greg_t)r->eflags;
	to[REG_CSGSFS] = (greg_t)(r->cs | r->ss << 48);
}

/* sigaltstack's flags are ones that there are not: the stack for signals stays what it is. */
static bool write_frame(struct rqs_remote *remote)
{
	static uint8_t xstate[RQS_XSTATE_MAX + 4];
	struct rqs_tracee *tracee = &remote->tracee;
	uint64_t at = remote->room + FRAME_AT, features;
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
	uint64_t state_at = at + XSTATE_AT;
	memcpy(&context.uc_mcontext.fpregs, &state_at, sizeof(state_at));
	memcpy(&context.uc_sigmask, &tracee->mask, sizeof(tracee->mask));
	return size <= RQS_XSTATE_MAX && size >= SOFTWARE_BYTES + sizeof(software) &&
	       rqs_tracee_write(tracee, at, &context, offsetof(ucontext_t, uc_sigmask) + sizeof(tracee->mask)) &&
	       rqs_tracee_write(tracee, state_at, xstate, size + sizeof(end));
}

/* ---- calls ---- */

static int map_room(struct rqs_remote *remote)
{
	struct rqs_tracee *tracee = &remote->tracee;
	long room = rqs_tracee_call(tracee, SYS_mmap, 0, ROOM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				    (uint64_t)-1, 0);

	if (room < 0)
		return (int)room;
	remote->room = (uint64_t)room;
	remote->data = remote->room + DATA_AT;
	if (!write_code(remote) || !write_frame(remote))
		return -EIO;
	long error =
	    rqs_tracee_call(tracee, SYS_mprotect, remote->room + CODE_AT, PAGE, PROT_READ | PROT_EXEC, 0, 0, 0);
	if (!error)
		error = rqs_tracee_call(tracee, SYS_mprotect, remote->room, PAGE, PROT_NONE, 0, 0, 0);
	return (int)error;
}

int rqs_remote_begin(struct rqs_remote *remote, struct rqs_stopped *thread, uint64_t deadline_ns)
{
	remote->thread = thread;
	remote->room = remote->data = 0;
	remote->left = false;
	int error = rqs_thread_borrow(&remote->tracee, thread, deadline_ns);
	remote->tracee.syscall_instruction = thread->registers.rip - 2;
	return error ? error : map_room(remote);
}

bool rqs_remote_call(struct rqs_remote *remote, uint64_t function, uint64_t a, uint64_t b, uint64_t *result)
{
	struct rqs_tracee *tracee = &remote->tracee;
	uint64_t words[3] = {function, a, b}, code_at = remote->room + CODE_AT;

	if (tracee->gone || !rqs_tracee_write(tracee, remote->room + WORDS_AT, words, sizeof(words)))
		return false;
	bool done = rqs_tracee_run(tracee, code_at, remote->room + DATA_AT, code_at + END_AT, result);
	if (!done && tracee->gone)
		remote->left = true;
	return done;
}

/* ---- the end ---- */

/* Stopped once more, wherever it is in the call, to be let go there. */
static void leave(struct rqs_remote *remote)
{
	struct rqs_stopped *thread = remote->thread;
	uint64_t until = rqs_tracee_now_ns() + STOP_MS * 1000000ull;
	int status;
	pid_t got;

	close(remote->tracee.memory);
	close(remote->tracee.stops);
	rqs_sys4(SYS_ptrace, PTRACE_INTERRUPT, thread->tid, 0, 0);
	while ((got = waitpid(thread->tid, &status, __WALL | WNOHANG)) == 0 && rqs_tracee_now_ns() < until)
		usleep(1000);
	thread->changed = false;
	thread->gone = got != thread->tid || !WIFSTOPPED(status) ||
		       rqs_sys4(SYS_ptrace, PTRACE_GETREGS, thread->tid, 0, &thread->registers) != 0;
}

void rqs_remote_end(struct rqs_remote *remote)
{
	if (remote->left) {
		leave(remote);
		return;
	}
	if (remote->room)
		rqs_tracee_call(&remote->tracee, SYS_munmap, remote->room, ROOM_SIZE, 0, 0, 0, 0);
	rqs_thread_give_back(&remote->tracee, remote->thread);
}
