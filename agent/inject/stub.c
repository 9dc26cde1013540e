/*
 * stub.c - writes stubs: displaced instructions around a call of a hook.
 *
 * At base lie the hooks' addresses, 8 bytes each, for those that a relative
 * call doesn't reach; the stubs follow.
 */
#include "inject/stub.h"
#include "inject/instruction.h"

#include <stdio.h>
#include <string.h>

#define JUMP 5u
#define ALIGN 16u
#define BREAKPOINT 0xcc /* filler: nothing runs there */
_Static_assert(RQS_SITE_KINDS * 8 <= RQS_STUB_MAX, "the addresses are the stubs' common part");

struct writer {
	uint64_t base; /* where bytes will lie */
	uint8_t *bytes;
	size_t used, limit;
	char *why;
};

static bool fail(struct writer *writer, const char *why, const char *name)
{
	snprintf(writer->why, RQS_REASON, "%s: %s", name, why);
	return false;
}

static bool put(struct writer *writer, const void *bytes, size_t size)
{
	if (size > writer->limit - writer->used)
		return false;
	memcpy(writer->bytes + writer->used, bytes, size);
	writer->used += size;
	return true;
}

/* An opcode and the distance to target, counted from the end of both. */
static bool put_relative(struct writer *writer, const void *opcode, size_t size, uint64_t target)
{
	int64_t distance = (int64_t)(target - (writer->base + writer->used + size + 4));
	int32_t near = (int32_t)distance;

	return near == distance && put(writer, opcode, size) && put(writer, &near, sizeof(near));
}

static bool put_call(struct writer *writer, enum rqs_site_kind kind, uint64_t entry)
{
	return put_relative(writer, "\xe8", 1, entry) ||
	       put_relative(writer, "\xff\x15", 2, writer->base + 8 * (uint64_t)kind);
}

/* All that a hook may change, by the numbers that instructions have for them: not RSP, RBP, R14 and R15. */
static const uint8_t kept[] = {0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13};

#define PUSH 0x50
#define POP 0x58

static bool put_stack(struct writer *writer, uint8_t opcode, uint8_t reg)
{
	uint8_t code[] = {0x41, (uint8_t)(opcode + reg % 8)};

	return reg < 8 ? put(writer, code + 1, 1) : put(writer, code, 2);
}

/*
 * The hook's arguments are in RAX, RBX and RCX: goroutine, old status and new.
 * By way of the stack, as each may be in a register that another has to go to.
 * Flags needn't be kept: the instruction that follows sets them all.
 */
static bool put_copied_call(struct writer *writer, const struct rqs_site *site, uint64_t entry)
{
	enum { RAX = 0, RCX = 1, RBX = 3 };
	bool ok = true;

	for (size_t i = 0; i < sizeof(kept); i++)
		ok = ok && put_stack(writer, PUSH, kept[i]);
	ok = ok && put_stack(writer, PUSH, site->goroutine) && put_stack(writer, PUSH, site->status) &&
	     put_stack(writer, PUSH, RAX) && put_stack(writer, POP, RBX) && put_stack(writer, POP, RCX) &&
	     put_stack(writer, POP, RAX) && put_call(writer, site->kind, entry);
	for (size_t i = sizeof(kept); i > 0; i--)
		ok = ok && put_stack(writer, POP, kept[i - 1]);
	return ok;
}

/* A jump whose distance may have been 8 bits; in a stub it has 32. */
static bool put_jump(struct writer *writer, const struct rqs_instruction *step)
{
	uint8_t condition[2] = {0x0f, 0x80};

	if (step->info.mnemonic == ZYDIS_MNEMONIC_JMP)
		return put_relative(writer, "\xe9", 1, rqs_instruction_target(step));
	/* jcxz and loop, which have no longer form, are other opcodes. */
	if (step->info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT ? (step->info.opcode & 0xf0) != 0x70
							      : (step->info.opcode & 0xf0) != 0x80)
		return false;
	condition[1] |= step->info.opcode & 0x0f;
	return put_relative(writer, condition, sizeof(condition), rqs_instruction_target(step));
}

/* The instruction's distance is its last field but for an immediate. */
static bool put_rip_relative(struct writer *writer, const struct rqs_instruction *step)
{
	size_t at = step->info.raw.disp.offset, length = step->info.length;
	int64_t distance = (int64_t)(rqs_instruction_target(step) - (writer->base + writer->used + length));
	int32_t near = (int32_t)distance;

	return step->info.raw.disp.size == 32 && near == distance && put(writer, step->bytes, at) &&
	       put(writer, &near, sizeof(near)) && put(writer, step->bytes + at + 4, length - at - 4);
}

static bool put_moved(struct writer *writer, const struct rqs_instruction *step)
{
	if (step->info.mnemonic == ZYDIS_MNEMONIC_CALL)
		return false;
	if (!(step->info.attributes & ZYDIS_ATTRIB_IS_RELATIVE))
		return put(writer, step->bytes, step->info.length);
	return rqs_instruction_is_jump(step) && step->info.raw.imm[0].is_relative ? put_jump(writer, step)
										  : put_rip_relative(writer, step);
}

static bool put_displaced(struct writer *writer, const struct rqs_site *site, uint64_t bias, unsigned from, unsigned to)
{
	struct rqs_instruction step;

	for (unsigned at = from; at < to; at += step.info.length)
		if (!rqs_instruction_decode(&step, site->code + at, to - at, site->address + bias + at) ||
		    !put_moved(writer, &step))
			return fail(writer, "an instruction can't be moved", site->name);
	return true;
}

static bool put_stub(struct writer *writer, const struct rqs_site *site, uint64_t bias, uint64_t entry)
{
	if (site->before > site->length || site->length > RQS_SITE_CODE || site->goroutine > 15 || site->status > 15)
		return fail(writer, "the plan is damaged", site->name);
	writer->limit = writer->used + RQS_STUB_MAX;
	if (!put_displaced(writer, site, bias, 0, site->before))
		return false;
	if (site->copied ? !put_copied_call(writer, site, entry) : !put_call(writer, site->kind, entry))
		return fail(writer, "the hook is out of reach", site->name);
	if (!put_displaced(writer, site, bias, site->before, site->length))
		return false;
	if (!put_relative(writer, "\xe9", 1, site->address + bias + site->length))
		return fail(writer, "the stub is out of reach", site->name);
	while (writer->used % ALIGN)
		writer->bytes[writer->used++] = BREAKPOINT;
	return true;
}

/* As few instructions as a jump covers are overwritten, also where more are displaced. */
static uint32_t overwritten(const struct rqs_site *site, uint64_t bias)
{
	struct rqs_instruction step;
	uint32_t length = 0;

	while (length < JUMP && length < site->length) {
		if (!rqs_instruction_decode(&step, site->code + length, site->length - length, site->address + bias))
			return 0;
		length += step.info.length;
	}
	return length;
}

static bool make_patch(struct writer *writer, struct rqs_patch *patch, const struct rqs_site *site, uint64_t bias,
		       uint64_t stub)
{
	struct writer jump = {.base = site->address + bias, .bytes = patch->after, .limit = JUMP, .why = writer->why};

	*patch =
	    (struct rqs_patch){.address = jump.base, .length = overwritten(site, bias), .kind = (uint8_t)site->kind};
	if (patch->length < JUMP || patch->length > 15)
		return fail(writer, "the plan is damaged", site->name);
	memcpy(patch->before, site->code, patch->length);
	memset(patch->after, BREAKPOINT, patch->length);
	return put_relative(&jump, "\xe9", 1, stub) || fail(writer, "the stub is out of reach", site->name);
}

size_t rqs_stubs_build(const struct rqs_plan *plan, uint64_t bias, const uint64_t entries[RQS_SITE_KINDS],
		       uint64_t base, uint8_t *bytes, struct rqs_patch *patches, size_t *patch_count,
		       char why[RQS_REASON])
{
	struct writer writer = {.base = base, .bytes = bytes, .limit = RQS_STUB_MAX, .why = why};
	size_t count = 0;

	why[0] = 0;
	put(&writer, entries, RQS_SITE_KINDS * sizeof(*entries));
	for (size_t i = 0; i < plan->site_count; i++) {
		const struct rqs_site *site = &plan->sites[i];
		uint64_t stub = base + writer.used;

		if (!entries[site->kind])
			continue;
		if (!put_stub(&writer, site, bias, entries[site->kind]) ||
		    !make_patch(&writer, &patches[count++], site, bias, stub))
			return 0;
	}
	*patch_count = count;
	return writer.used;
}
