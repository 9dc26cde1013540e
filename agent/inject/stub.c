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

#define ALIGN 16u
#define BREAKPOINT 0xcc /* filler: nothing runs there */
_Static_assert(RQS_SITE_KINDS * 8 <= RQS_STUB_MAX, "the addresses are the stubs' common part");

struct writer {
	uint64_t base; /* where bytes will lie */
	uint8_t *bytes;
	size_t used, limit;
	char *why;
	const struct rqs_plan *plan;
	uint64_t bias;
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

/* Registers have the numbers that instructions have for them. */
enum { RAX = 0, RCX = 1, RBX = 3, RSP = 4, R8 = 8, R10 = 10, R11 = 11, R14 = 14 };

/* REX.W opcode, for a register and another, or memory at offset(other); not for memory at RSP or R12. */
static bool put_operation(struct writer *writer, uint8_t opcode, uint8_t reg, uint8_t other, const uint32_t *offset)
{
	const uint8_t code[] = {(uint8_t)(0x48 | (reg > 7) << 2 | (other > 7)), opcode,
				(uint8_t)((offset ? 0x80 : 0xc0) | (reg & 7) << 3 | (other & 7))};

	return put(writer, code, sizeof(code)) && (!offset || put(writer, offset, sizeof(*offset)));
}

#define PUSH 0x50
#define POP 0x58

static bool put_stack(struct writer *writer, uint8_t opcode, uint8_t reg)
{
	uint8_t code[] = {0x41, (uint8_t)(opcode + reg % 8)};

	return reg < 8 ? put(writer, code + 1, 1) : put(writer, code, 2);
}

/* ---- whose time it is ---- */

/*
 * Profiles ask Go's unwinder, which doesn't know our code. So the thread is
 * told that it has left Go's code at the site, as the runtime tells it before
 * it calls the vDSO: in m.vdsoPC, and then in m.vdsoSP, which counts while it
 * isn't 0. A signal's handler that comes by a hook ends the mark of the hook
 * that it interrupted: by then that one's sample is taken. And whatever kept a
 * hook from ending its mark (a vfork child may be killed), the next one does.
 */
#define G_M 0x30 /* of runtime.g: the thread (runtime.m) that runs it */

/* Registers that are free at the site, or were pushed. */
struct mark {
	uint8_t thread, scratch;
	uint8_t pushed; /* bytes on the stack since the site */
};

static struct mark mark_of(const struct rqs_site *site)
{
	/* At a SYSCALL R10 is an argument; the kernel changes RCX. */
	bool at_syscall = site->kind == RQS_SITE_SYSCALL_LOADED || site->kind == RQS_SITE_SYSCALL_DONE;
	struct mark mark = {.thread = R11, .scratch = at_syscall ? RCX : R10};

	if (!site->copied)
		return mark;
	mark = (struct mark){.thread = R8, .scratch = R8, .pushed = 16};
	while (mark.thread == site->goroutine || mark.thread == site->status)
		mark.thread++;
	while (mark.scratch == site->goroutine || mark.scratch == site->status || mark.scratch == mark.thread)
		mark.scratch++;
	return mark;
}

static bool marks(const struct writer *writer)
{
	return writer->plan->vdso_pc_offset && writer->plan->vdso_sp_offset;
}

#define MOV_STORE 0x89
#define MOV_LOAD 0x8b
#define MOV_NUMBER 0xc7

static bool put_thread(struct writer *writer, struct mark mark)
{
	static const uint32_t g_m = G_M;

	return !marks(writer) || put_operation(writer, MOV_LOAD, mark.thread, R14, &g_m);
}

/* lea pc(%rip),%scratch */
static bool put_pc(struct writer *writer, struct mark mark, uint64_t pc)
{
	const uint8_t code[] = {(uint8_t)(0x48 | (mark.scratch > 7) << 2), 0x8d,
				(uint8_t)(5 | (mark.scratch & 7) << 3)};

	return put_relative(writer, code, sizeof(code), pc);
}

/* lea pushed(%rsp),%scratch; mov %scratch,vdsoSP(%thread); or where nothing was pushed, mov %rsp,vdsoSP(%thread) */
static bool put_sp(struct writer *writer, struct mark mark)
{
	const uint8_t lea[] = {(uint8_t)(0x48 | (mark.scratch > 7) << 2), 0x8d,
			       (uint8_t)(0x44 | (mark.scratch & 7) << 3), 0x24, mark.pushed};

	return (!mark.pushed || put(writer, lea, sizeof(lea))) &&
	       put_operation(writer, MOV_STORE, mark.pushed ? mark.scratch : RSP, mark.thread,
			     &writer->plan->vdso_sp_offset);
}

/*
 * The address is taken for one that is returned to, unless a function starts
 * there: profiles show the instruction before it. A copy's own is the one that
 * shows whose copy it is; within it the stack is as at its start.
 */
static bool put_mark(struct writer *writer, const struct rqs_site *site, struct mark mark)
{
	uint64_t pc = site->address + writer->bias + site->before + (site->copied ? 1 : 0);

	return !marks(writer) ||
	       (put_thread(writer, mark) && put_pc(writer, mark, pc) &&
		put_operation(writer, MOV_STORE, mark.scratch, mark.thread, &writer->plan->vdso_pc_offset) &&
		put_sp(writer, mark));
}

/* movq $0,vdsoSP(%thread), with the register kept where all are. Flags stay. */
static bool put_unmark(struct writer *writer, struct mark mark)
{
	static const uint8_t zero[4];

	return !marks(writer) ||
	       ((!mark.pushed || put_stack(writer, PUSH, mark.thread)) && put_thread(writer, mark) &&
		put_operation(writer, MOV_NUMBER, 0, mark.thread, &writer->plan->vdso_sp_offset) &&
		put(writer, zero, sizeof(zero)) && (!mark.pushed || put_stack(writer, POP, mark.thread)));
}

/* ---- the hook's call ---- */

static bool put_call(struct writer *writer, enum rqs_site_kind kind, uint64_t entry)
{
	return put_relative(writer, "\xe8", 1, entry) ||
	       put_relative(writer, "\xff\x15", 2, writer->base + 8 * (uint64_t)kind);
}

/* All that a hook may change: not RSP, RBP, R14 and R15. Those of the mark come first, whichever they are. */
#define KEPT 12u

static void list_kept(uint8_t kept[KEPT], struct mark mark)
{
	static const uint8_t all[KEPT] = {0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13};
	size_t count = 2;

	kept[0] = mark.thread;
	kept[1] = mark.scratch;
	for (size_t i = 0; i < KEPT; i++)
		if (all[i] != mark.thread && all[i] != mark.scratch)
			kept[count++] = all[i];
}

/*
 * The hook's arguments are in RAX, RBX and RCX: goroutine, old status and new.
 * By way of the stack, as each may be in a register that another has to go to.
 * Flags needn't be kept: the instruction that follows sets them all.
 */
static bool put_copied_call(struct writer *writer, const struct rqs_site *site, struct mark mark, uint64_t entry)
{
	uint8_t kept[KEPT];

	list_kept(kept, mark);
	bool ok = put_stack(writer, PUSH, kept[0]) && put_stack(writer, PUSH, kept[1]) && put_mark(writer, site, mark);
	for (size_t i = 2; i < KEPT; i++)
		ok = ok && put_stack(writer, PUSH, kept[i]);
	ok = ok && put_stack(writer, PUSH, site->goroutine) && put_stack(writer, PUSH, site->status) &&
	     put_stack(writer, PUSH, RAX) && put_stack(writer, POP, RBX) && put_stack(writer, POP, RCX) &&
	     put_stack(writer, POP, RAX) && put_call(writer, site->kind, entry);
	for (size_t i = KEPT; i > 0; i--)
		ok = ok && put_stack(writer, POP, kept[i - 1]);
	return ok;
}

/* ---- the displaced instructions ---- */

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

static bool put_displaced(struct writer *writer, const struct rqs_site *site, unsigned from, unsigned to)
{
	struct rqs_instruction step;

	for (unsigned at = from; at < to; at += step.info.length)
		if (!rqs_instruction_decode(&step, site->code + at, to - at, site->address + writer->bias + at) ||
		    !put_moved(writer, &step))
			return fail(writer, "an instruction can't be moved", site->name);
	return true;
}

/* ---- one stub ---- */

/*
 * Whether the mark can last until the stub ends: what is displaced behind the
 * hook goes on there, and the mark's register is free yet.
 */
static bool lasts(const struct writer *writer, const struct rqs_site *site)
{
	struct rqs_instruction step;

	for (unsigned at = site->before; at < site->length; at += step.info.length)
		if (!rqs_instruction_decode(&step, site->code + at, site->length - at,
					    site->address + writer->bias + at) ||
		    rqs_instruction_is_jump(&step) ||
		    (!site->copied && rqs_instruction_uses(&step, ZYDIS_REGISTER_R11)))
			return false;
	return true;
}

/* The hook's call, and what is displaced behind it. */
static bool put_hook(struct writer *writer, const struct rqs_site *site, uint64_t entry)
{
	struct mark mark = mark_of(site);
	bool last = lasts(writer, site);
	bool ok = site->copied ? put_copied_call(writer, site, mark, entry)
			       : put_mark(writer, site, mark) && put_call(writer, site->kind, entry);

	if (!ok || (!last && !put_unmark(writer, mark)))
		return fail(writer, "the hook is out of reach", site->name);
	return put_displaced(writer, site, site->before, site->length) && (!last || put_unmark(writer, mark));
}

static bool put_stub(struct writer *writer, const struct rqs_site *site, uint64_t entry)
{
	if (site->before > site->length || site->length > RQS_SITE_CODE || site->goroutine > 15 || site->status > 15)
		return fail(writer, "the plan is damaged", site->name);
	writer->limit = writer->used + RQS_STUB_MAX;
	if (!put_displaced(writer, site, 0, site->before) || !put_hook(writer, site, entry))
		return false;
	if (!put_relative(writer, "\xe9", 1, site->address + writer->bias + site->length))
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

	while (length < RQS_JUMP && length < site->length) {
		if (!rqs_instruction_decode(&step, site->code + length, site->length - length, site->address + bias))
			return 0;
		length += step.info.length;
	}
	return length;
}

static bool make_patch(struct writer *writer, struct rqs_patch *patch, const struct rqs_site *site, uint64_t bias,
		       uint64_t stub)
{
	struct writer jump = {.base = site->address + bias, .bytes = patch->after, .limit = RQS_JUMP, .why = writer->why};

	*patch =
	    (struct rqs_patch){.address = jump.base, .length = overwritten(site, bias), .kind = (uint8_t)site->kind};
	if (patch->length < RQS_JUMP || patch->length > 15)
		return fail(writer, "the plan is damaged", site->name);
	memcpy(patch->before, site->code, patch->length);
	memset(patch->after, BREAKPOINT, patch->length);
	return put_relative(&jump, "\xe9", 1, stub) || fail(writer, "the stub is out of reach", site->name);
}

size_t rqs_stubs_build(const struct rqs_plan *plan, uint64_t bias, const uint64_t entries[RQS_SITE_KINDS],
		       uint64_t base, uint8_t *bytes, struct rqs_patch *patches, size_t *patch_count,
		       char why[RQS_REASON])
{
	struct writer writer = {
	    .base = base, .bytes = bytes, .limit = RQS_STUB_MAX, .why = why, .plan = plan, .bias = bias};
	size_t count = 0;

	why[0] = 0;
	put(&writer, entries, RQS_SITE_KINDS * sizeof(*entries));
	for (size_t i = 0; i < plan->site_count; i++) {
		const struct rqs_site *site = &plan->sites[i];
		uint64_t stub = base + writer.used;

		if (!entries[site->kind])
			continue;
		if (!put_stub(&writer, site, entries[site->kind]) ||
		    !make_patch(&writer, &patches[count++], site, bias, stub))
			return 0;
	}
	*patch_count = count;
	return writer.used;
}
