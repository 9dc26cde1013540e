/*
 * plan.h - what can be hooked in a Go program, and where: found in its file,
 * before it runs.
 *
 * A plan holds addresses as linked; whoever carries it out adds the load bias.
 * Every site's original bytes were decoded and verified, and are in the plan,
 * so that they can be compared once more with what is in memory. Nothing is
 * decided by Go's version alone.
 */
#ifndef REQSCOPE_PLAN_H
#define REQSCOPE_PLAN_H

#include "go/sites.h"
#include "reqscope/region.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RQS_SITE_CODE 32
#define RQS_REASON 160
#define RQS_JUMP 5u /* bytes of a jump: a site has as many at least */

/* One place in the program's text that gets a jump to a stub of ours. */
struct rqs_site {
	enum rqs_site_kind kind;
	uint8_t length; /* bytes of `code` that are displaced: whole instructions, at least 5 bytes */
	uint8_t before; /* of these, bytes of the instructions that run before the hook is called (a stack check) */
	/*
	 * STATUS in a copy of casgstatus that the compiler put elsewhere: it is the
	 * copy's `lock cmpxchg`, and the arguments are where the compiler has them.
	 * The stub moves them, and keeps all registers. EAX has the old status.
	 */
	bool copied;
	uint8_t goroutine, status; /* numbers of the registers with goroutine and new status: 0 RAX, 1 RCX, ... 15 R15 */
	uint64_t address;
	uint8_t code[RQS_SITE_CODE]; /* the original bytes from address on */
	char name[64];               /* of the function, cut */
};

/*
 * Addresses of the runtime's figures, 0 where not found; as in struct
 * rqs_go_facts. Since Go 1.25 the dead goroutines that are kept for reuse have
 * two counts: those with a stack (goroutines_free) and those without one
 * (goroutines_bare, i32; 0 where one count is of both).
 */
struct rqs_plan_figures {
	uint64_t heap_in_use, heap_live, heap_goal;
	uint64_t gc_cycles, gc_pause_total;
	uint64_t goroutines_all, goroutines_free, goroutines_bare, goroutines_system;
};

/* The same as the collector is told them, of a program loaded at bias; the sender's part isn't set. */
static inline struct rqs_go_facts rqs_facts_of(const struct rqs_plan_figures *at, uint64_t bias)
{
#define RQS_MOVED(name) .name = at->name ? at->name + bias : 0
	return (struct rqs_go_facts){
		RQS_MOVED(heap_in_use),	   RQS_MOVED(heap_live),       RQS_MOVED(heap_goal),
		RQS_MOVED(gc_cycles),	   RQS_MOVED(gc_pause_total),  RQS_MOVED(goroutines_all),
		RQS_MOVED(goroutines_free), RQS_MOVED(goroutines_bare), RQS_MOVED(goroutines_system),
	};
#undef RQS_MOVED
}

struct rqs_plan {
	bool is_go;          /* a Go program at all; else all below is empty */
	char version[32];    /* "1.26.8", "" unknown */
	char why_not[RQS_REASON]; /* "": requests can be recorded; else the one reason why no hook is placed, a sentence's end */
	uint32_t measures;   /* RQS_MEASURES_* */
	char why_no_alloc[RQS_REASON]; /* where that is not in `measures`; why_no_children likewise, and so on */
	char why_no_children[RQS_REASON];
	char why_no_sched[RQS_REASON];
	struct rqs_site *sites;
	size_t site_count;
	bool position_independent;
	bool dynamic;        /* needs libraries: the preloaded one patches it */
	uint64_t image_start, image_end; /* of all PT_LOAD segments */
	uint64_t text_start, text_end;   /* of the executable one(s) */
	uint64_t syscall_instruction;    /* a SYSCALL in the text */
	uint32_t curg_offset;            /* of runtime.m's curg; 0 unknown */
	/* Of its vdsoPC and vdsoSP, 0 unknown: by them stubs tell profiles in which function a hook runs. */
	uint32_t vdso_pc_offset, vdso_sp_offset;
	struct rqs_plan_figures figures;
};

/*
 * Fills plan from the ELF file open at fd (borrowed, its offset isn't used).
 * 0, also where nothing can be hooked (why_not); -errno when the file can't be
 * read or memory is short. rqs_plan_free() in any case. Any file is safe to
 * give, hostile ones included.
 */
int rqs_plan_make(struct rqs_plan *plan, int fd);
void rqs_plan_free(struct rqs_plan *plan);

#endif
