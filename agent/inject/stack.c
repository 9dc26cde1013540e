/* stack.c - see stack.h. */
#include "inject/stack.h"

#include "inject/remote_call.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define SCANNED (1u << 20) /* bytes of a stack that can't be unwound */
#define NEAR 4             /* functions of libc between one that waits and its system call */

struct walk {
	const struct rqs_stack *stack;
	bool waits, unsafe, knows_eintr;
};

static uint64_t word_at(const struct rqs_stack *stack, uint64_t address)
{
	uint64_t word = 0;

	rqs_unwinder_read(stack->unwinder, address, &word, sizeof(word));
	return word;
}

/* Of an instruction whose last four bytes are an offset from what is behind it. */
static uint64_t offset_from(uint64_t behind, const uint8_t *end)
{
	int32_t offset;

	memcpy(&offset, end - sizeof(offset), sizeof(offset));
	return behind + (uint64_t)(int64_t)offset;
}

/* Of a stub that jumps to where a variable says: what that says. */
static uint64_t through_stub(const struct rqs_stack *stack, uint64_t address)
{
	static const uint8_t mark[] = {0xf3, 0x0f, 0x1e, 0xfa};
	uint8_t bytes[11];

	if (rqs_unwinder_read(stack->unwinder, address, bytes, sizeof(bytes)) != sizeof(bytes))
		return address;
	size_t at = memcmp(bytes, mark, sizeof(mark)) ? 0 : sizeof(mark);
	at += bytes[at] == 0xf2;
	if (at + 6 > sizeof(bytes) || bytes[at] != 0xff || bytes[at + 1] != 0x25)
		return address;
	return word_at(stack, offset_from(address + at + 6, bytes + at + 6));
}

/* The function that was called from before the address, though it may have jumped to another one; 0 unknown. */
static uint64_t called_before(const struct rqs_stack *stack, uint64_t address)
{
	uint8_t bytes[6];

	if (rqs_unwinder_read(stack->unwinder, address - sizeof(bytes), bytes, sizeof(bytes)) != sizeof(bytes))
		return 0;
	if (bytes[0] == 0xff && bytes[1] == 0x15)
		return word_at(stack, offset_from(address, bytes + 6));
	return bytes[1] == 0xe8 ? through_stub(stack, offset_from(address, bytes + 6)) : 0;
}

/* Somebody was killed who had called something in this thread: it isn't back yet. */
static bool is_call_of_ours(const struct rqs_stack *stack, uint64_t address)
{
	uint8_t head[RQS_REMOTE_HEAD];

	return rqs_unwinder_read(stack->unwinder, address & ~(uint64_t)4095, head, sizeof(head)) == sizeof(head) &&
	       rqs_remote_is_code(head);
}

static bool see_function(void *data, unsigned depth, uint64_t address)
{
	struct walk *walk = data;
	bool waits = false, calls_wait = false;

	if (rqs_unwinder_in_loader(walk->stack->unwinder, address) ||
	    (rqs_remote_is_in(&walk->stack->functions, address, &waits) && !waits) ||
	    is_call_of_ours(walk->stack, address))
		walk->unsafe = true;
	if (depth && depth <= NEAR &&
	    rqs_remote_is_in(&walk->stack->functions, called_before(walk->stack, address) + 1, &calls_wait))
		waits |= calls_wait;
	if (waits && depth <= NEAR)
		walk->waits = true;
	if (depth == 1)
		walk->knows_eintr = rqs_unwinder_knows_eintr(walk->stack->unwinder, address);
	return !walk->unsafe;
}

/* Does the address lead to where signal handlers return to: mov $SYS_rt_sigreturn, %eax or %rax; syscall? */
static bool is_restorer(const struct rqs_stack *stack, uint64_t address)
{
	static const uint8_t shorter[] = {0xb8, 15, 0, 0, 0, 0x0f, 0x05};
	static const uint8_t longer[] = {0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05};
	uint8_t bytes[sizeof(longer)];

	return rqs_unwinder_read(stack->unwinder, address, bytes, sizeof(bytes)) == sizeof(bytes) &&
	       (!memcmp(bytes, longer, sizeof(longer)) || !memcmp(bytes, shorter, sizeof(shorter)));
}

/* Is there a call before the address: e8 with four bytes, or ff with one to six? */
static bool follows_call(const struct rqs_stack *stack, uint64_t address)
{
	uint8_t bytes[7];

	if (rqs_unwinder_read(stack->unwinder, address - sizeof(bytes), bytes, sizeof(bytes)) != sizeof(bytes))
		return false;
	return bytes[2] == 0xe8 || memchr(bytes, 0xff, 6);
}

/* Of the waits that are harmless allocators make these alone, for their locks. */
static bool sleeps(const struct user_regs_struct *r)
{
	return r->orig_rax == SYS_nanosleep || r->orig_rax == SYS_clock_nanosleep || r->orig_rax == SYS_restart_syscall;
}

static bool is_suspect(const struct rqs_stack *stack, const struct user_regs_struct *r, uint64_t word)
{
	bool waits = false;

	if (!rqs_unwinder_is_code(stack->unwinder, word))
		return false;
	if (is_restorer(stack, word))
		return true;
	if (rqs_remote_is_in_allocator(&stack->functions, word) && !sleeps(r))
		return false; /* of a call that has ended */
	return (rqs_unwinder_in_loader(stack->unwinder, word) ||
		(rqs_remote_is_in(&stack->functions, word, &waits) && !waits)) &&
	       follows_call(stack, word);
}

/*
 * Nothing is known of some function in the stack (made at run time, or of a
 * musl without tables). Whatever could be the return of a signal handler, or
 * to the loader or an allocator, is taken for one.
 */
static bool scan(const struct rqs_stack *stack, const struct user_regs_struct *r)
{
	uint64_t top = r->rsp, end = rqs_unwinder_end(stack->unwinder, top), size = end - top, *words;
	bool found = false;

	size = (size < SCANNED ? size : SCANNED) & ~7ull;
	words = end ? malloc(size + 1) : NULL;
	uint64_t got = words ? rqs_unwinder_read(stack->unwinder, top, words, size) : 0;
	for (uint64_t i = 0; i < got / 8 && !found; i++)
		found = is_suspect(stack, r, words[i]);
	free(words);
	return got && !found;
}

bool rqs_stack_is_safe(const struct rqs_stack *stack, const struct user_regs_struct *r, bool locked, bool *knows_eintr)
{
	struct walk walk = {.stack = stack};
	enum rqs_unwound end = rqs_unwind(stack->unwinder, r, see_function, &walk);

	*knows_eintr = walk.knows_eintr;
	if (end == RQS_UNWOUND)
		return !locked || walk.waits;
	return end == RQS_UNKNOWN && !locked && scan(stack, r);
}
