/*
 * payload.c - the face of the code that is placed in static Go programs:
 * what the placing step finds by name in its image (setup.h).
 */
#include "go/go.h"

#define SHOWN __attribute__((visibility("default"), used))

SHOWN struct rqs_go_setup rqs_go_setup;

_Static_assert(offsetof(struct rqs_go_setup, entry) == 0 && offsetof(struct rqs_go_setup, stack) == 8, "below");

/*
 * The stack is as the kernel's: aligned, and with nobody to return to. At the
 * end is a system call (getpid) that is a stop for who traces us. Where nobody
 * does any more, the program begins, with what the kernel gives it in RDX.
 */
__asm__(".text\n"
	".globl rqs_go_begin\n"
	".type rqs_go_begin, @function\n"
	"rqs_go_begin:\n"
	"	andq $-16, %rsp\n"
	"	cld\n"
	"	leaq rqs_go_setup(%rip), %rdi\n"
	"	call rqs_go_start\n"
	"1:	movzbl %al, %ebx\n"
	"	movl $39, %eax\n"
	".globl rqs_go_began\n"
	"rqs_go_began:\n"
	"	syscall\n"
	"	xorl %edx, %edx\n"
	"	movq 8+rqs_go_setup(%rip), %rsp\n"
	"	jmp *rqs_go_setup(%rip)\n"
	".globl rqs_go_end\n"
	".type rqs_go_end, @function\n"
	"rqs_go_end:\n"
	"	andq $-16, %rsp\n"
	"	cld\n"
	"	call rqs_go_stop\n"
	"	jmp 1b\n"
	".globl rqs_go_leave\n"
	".type rqs_go_leave, @function\n"
	"rqs_go_leave:\n"
	"	xorl %edi, %edi\n"
	"	movl $60, %eax\n"
	"	syscall\n"
	"	jmp rqs_go_leave\n");

SHOWN char rqs_go_stack[RQS_GO_STACK] __attribute__((aligned(64)));
