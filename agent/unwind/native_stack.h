/*
 * native_stack.h - unwinding by libunwind, of a stack of which there is but a copied
 * piece, and of code that is read from its files.
 *
 * By .eh_frame; by frame pointers where code has none, as what runtimes make
 * while they run, and Node's built-in functions. Both may be wrong on purpose:
 * it ends, and reads nothing but the piece and the files.
 */
#ifndef UNWIND_NATIVE_STACK_H
#define UNWIND_NATIVE_STACK_H

#include "unwind/modules.h"

#include "reqscope/region.h"

struct rqs_native;

/* NULL: no memory. The modules stay the caller's. */
struct rqs_native *rqs_native_new(struct rqs_modules *modules);
void rqs_native_free(struct rqs_native *native);

struct rqs_native_frame {
	uint64_t address;
	bool call; /* of a caller: what it executes is what lies before the address */
};

enum rqs_native_end {
	RQS_NATIVE_WHOLE,   /* up to the thread's first function */
	RQS_NATIVE_CUT,     /* to the end of the piece */
	RQS_NATIVE_ENOUGH,  /* to where who sees them wanted no more */
	RQS_NATIVE_UNKNOWN, /* of the last function it isn't told how to go on */
};

/* Sees one frame; false: no more. */
typedef bool rqs_native_visitor(void *context, const struct rqs_native_frame *frame);

/* The frames from the registers on, the innermost first. `size` bytes of stack lie from RSP upwards. */
enum rqs_native_end rqs_native_unwind(struct rqs_native *native, const uint64_t registers[RQS_SAMPLE_REGISTERS],
				      const uint8_t *stack, size_t size, rqs_native_visitor *visit, void *context);

/* Where the function at that address begins, as .eh_frame tells; 0 it doesn't. Visitors may ask, too. */
uint64_t rqs_native_function(struct rqs_native *native, uint64_t address);

#endif
