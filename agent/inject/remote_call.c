/*
 * remote_call.c - see remote_call.h.
 *
 *    room: | nothing | stack | data | frame | code |
 */
#include "inject/remote_call.h"

#include "inject/frame.h"
#include "os/sys.h"

#include "reqscope/attach_words.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define DATA_AT (PAGE + RQS_ATTACH_STACK)
#define FRAME_AT (DATA_AT + RQS_REMOTE_DATA)
#define CODE_AT (FRAME_AT + RQS_FRAME_MAX)
#define ROOM_SIZE (CODE_AT + PAGE)
#define STOP_MS 1000

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
	if (!write_code(remote) || !rqs_frame_write(&remote->tracee, remote->room + FRAME_AT))
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
	if (!error)
		error = rqs_thread_block(&remote->tracee);
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
