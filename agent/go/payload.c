/*
 * payload.c - the face of the code that is placed in static Go programs:
 * what the placing step finds by name in its image (setup.h).
 */
#include "go/go.h"

#define SHOWN __attribute__((visibility("default"), used))

SHOWN struct rqs_go_setup rqs_go_setup;

/* The stack is as the kernel's: aligned, and with nobody to return to. */
__asm__(".text\n"
	".globl rqs_go_begin\n"
	".type rqs_go_begin, @function\n"
	"rqs_go_begin:\n"
	"	andq $-16, %rsp\n"
	"	cld\n"
	"	leaq rqs_go_setup(%rip), %rdi\n"
	"	call rqs_go_start\n"
	"	movzbl %al, %eax\n"
	".globl rqs_go_began\n"
	"rqs_go_began:\n"
	"	int3\n");
