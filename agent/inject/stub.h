/*
 * stub.h - turns a plan into code: the stubs, and the jumps to them.
 *
 * A pure function of its arguments; what it returns is carried out by whoever
 * may write to the program: the placing step from outside, or the preloaded
 * library in its own process.
 */
#ifndef REQSCOPE_STUB_H
#define REQSCOPE_STUB_H

#include "inject/plan.h"

/*
 * While a hook runs, the thread is marked as having left the site's function
 * (vdso_pc_offset in plan.h, where known), so that Go's CPU profiles show the
 * hook's time as that function's.
 */

/* Bytes of address space that stubs for a plan never exceed: RQS_STUB_MAX each, and a common part. */
#define RQS_STUB_MAX 192u
static inline size_t rqs_stubs_room(size_t sites)
{
	return (sites + 1) * RQS_STUB_MAX;
}

/* Overwrites `length` bytes at `address` (in memory, bias included). */
struct rqs_patch {
	uint64_t address;
	uint32_t length; /* 5..15: a jump, and fillers up to an instruction's end */
	uint8_t kind;    /* enum rqs_site_kind */
	uint8_t before[16]; /* what must be there now */
	uint8_t after[16];
};

/*
 * Writes the stubs, as they are to lie at address `base`, to bytes (room for
 * rqs_stubs_room()), and one patch for each site. bias: load address minus
 * linked address. entries: addresses of the hooks, by enum rqs_site_kind; 0
 * leaves that kind's sites alone. Hooks out of reach of a relative call
 * are called through a literal. Returns the stubs' size, 0 where base is out
 * of reach of the sites, or an instruction can't be moved; why then says.
 */
size_t rqs_stubs_build(const struct rqs_plan *plan, uint64_t bias, const uint64_t entries[RQS_SITE_KINDS],
		       uint64_t base, uint8_t *bytes, struct rqs_patch *patches, size_t *patch_count,
		       char why[RQS_REASON]);

#endif
