/*
 * go_entries.S - where the stubs in a Go program's text lead (sites.h).
 *
 * What is free: Go's internal ABI keeps nothing in registers across a call but
 * SP, BP, R14 (the goroutine) and X15 (zero), and R15 may be the address of a
 * plugin's table. So at a function's entry all others are free but those that
 * hold its arguments. Stack: 8 bytes for the stub's call, and little more.
 */
#include "layout.h"

	.text
	.hidden rqs_go
	.hidden rqs_go_call_begins
	.hidden rqs_go_call_done
	.hidden rqs_go_sample_due

/* ---- finding a goroutine's entry ---- */

/* r12 = the entry for the goroutine in \g, or jumps to \miss with r12 = the first place to look. */
.macro ENTRY_OF g, miss
	mov \g, %r12
	shr $2, %r12
	and GO_GOROUTINE_MASK + rqs_go(%rip), %r12
	add GO_GOROUTINES + rqs_go(%rip), %r12
	cmp \g, (%r12)
	jne \miss
.endm

/*
 * The rest of the search, for the goroutine in r11 from r12 on; enters it
 * where it isn't there. r12 = 0: no room. Clobbers rdx, r10, rax kept.
 */
	.p2align 4
find_or_insert:
	cmpq $0, GO_TABLE + rqs_go(%rip)
	je 5f
	mov $256, %r10d
1:	cmp %r11, (%r12)
	je 4f
	cmpq $0, (%r12)
	jne 2f
	mov %rax, %rdx
	xor %eax, %eax
	lock cmpxchg %r11, (%r12)
	mov %rdx, %rax
	jne 1b
	mov GO_SAMPLE + rqs_go(%rip), %rdx
	mov %rdx, G_SAMPLE(%r12)
4:	ret
2:	add $G_SIZE, %r12
	cmp GO_GOROUTINES_END + rqs_go(%rip), %r12
	jb 3f
	mov GO_GOROUTINES + rqs_go(%rip), %r12
3:	dec %r10d
	jnz 1b
5:	xor %r12d, %r12d
	ret

/* ---- a stack for C code ---- */

/* \to = a context that is ours from now on; jumps to \none. Clobbers r11, \left. tries: of one at a time. */
.macro TAKE_CONTEXT to, left, tries, none
	mov G_M(%r14), %r11		/* one thread's calls tend to use one context */
	shr $11, %r11
	mov $(\tries), \left
97:	and $(CONTEXT_COUNT - 1), %r11d
	mov %r11, \to
	shl $16, \to
	add GO_CONTEXTS + rqs_go(%rip), \to
	lock btsq $0, CONTEXT_TAKEN(\to)
	jnc 98f
	inc %r11
	pause
	dec \left
	jnz 97b
	jmp \none
98:
.endm

/* ---- allocation: rax bytes, r14 goroutine; rbx and rcx are arguments, too ---- */

	.globl rqs_go_alloc
	.hidden rqs_go_alloc
	.p2align 6
rqs_go_alloc:
	test %rax, %rax
	jz 9f			/* no allocation: all that are empty have one address */
	ENTRY_OF %r14, 2f
1:	mov G_ALLOC_BYTES(%r12), %r11
	add %rax, %r11
	mov %r11, G_ALLOC_BYTES(%r12)
	incq G_ALLOC_COUNT(%r12)
	add G_SAMPLE(%r12), %r11
	jc 7f
8:	cmpq $0, G_OWNER(%r12)
	jne 3f
	ret
2:	mov %r14, %r11
	call find_or_insert
	test %r12, %r12
	jnz 1b
	mov GO_TABLE + rqs_go(%rip), %r12
	test %r12, %r12
	jz 9f
	lock add %rax, TABLE_LOST_BYTES(%r12)
	lock incq TABLE_LOST_COUNT(%r12)
9:	ret
/* For a request that it wasn't born to serve: to its meter, as long as that is the request's. */
3:	mov G_OWNER(%r12), %rsi
	mov G_OWNER_GENERATION(%r12), %rdi
	mov %rax, %r8
	mov %rbx, %r9
	mov %rcx, %r10
	mov METER_CHILDREN(%rsi), %rax
	mov METER_CHILDREN + 8(%rsi), %rdx
	mov $1, %r11d
	shl $32, %r11
4:	cmp %edi, %eax
	jne 5f
	lea (%rax, %r11), %rbx
	lea (%rdx, %r8), %rcx
	lock cmpxchg16b METER_CHILDREN(%rsi)
	jne 4b
	jmp 6f
5:	movq $0, G_OWNER(%r12)
6:	mov %r8, %rax
	mov %r9, %rbx
	mov %r10, %rcx
	ret
/* A sample is due. Without a context it is lost, and the next one isn't more likely for that. */
7:	cmpq $0, GO_CONTEXTS + rqs_go(%rip)
	je 70f
	TAKE_CONTEXT %r13, %r10d, CONTEXT_COUNT, 70f
	lea 8(%rsp), %r11		/* above the return to the stub */
	mov %rsp, CONTEXT_SP(%r13)
	lea CONTEXT_SIZE(%r13), %rsp
	push %rax
	push %rbx
	push %rcx
	push %rbp			/* struct rqs_go_due */
	push %r11
	push %rax
	push %r14
	push %r12
	mov %r13, %rdi
	mov %rsp, %rsi
	cld
	call rqs_go_sample_due
	add $40, %rsp
	pop %rcx
	pop %rbx
	pop %rax
	mov CONTEXT_SP(%r13), %rsp
	movq $0, CONTEXT_TAKEN(%r13)
	xorps %xmm15, %xmm15
	jmp 8b
70:	movq $G_SAMPLE_UNDRAWN, G_SAMPLE(%r12)
	mov GO_SAMPLES_LOST + rqs_go(%rip), %r11
	lock incq (%r11)
	jmp 8b

/* ---- status: rax goroutine, ebx old, ecx new; r14 who changes it ---- */

	.globl rqs_go_status
	.hidden rqs_go_status
	.p2align 6
rqs_go_status:
	mov %rax, %r8
	ENTRY_OF %r8, 20f
1:	cmp $GDEAD, %ebx
	je 30f
	cmpb $0, GO_SCHED + rqs_go(%rip)
	je 9f
	/* In a system call is on a CPU, as far as the scheduler can tell. */
	lea (%rbx, %rcx, 8), %r10d
	cmp $(GRUNNING + GSYSCALL * 8), %r10d
	je 9f
	cmp $(GSYSCALL + GRUNNING * 8), %r10d
	je 9f
	rdtsc
	shl $32, %rdx
	or %rax, %rdx
	mov %rdx, %r9
	xchg %rdx, G_SINCE(%r12)
	test %rdx, %rdx
	jz 8f			/* seen for the first time */
	sub %rdx, %r9		/* the slice that ends */
	mov %ebx, %r11d
	and $15, %r11d
	/* Waiting to running without being ready first: garbage collection's work, or the world was stopped: on a CPU. */
	cmp $(GWAITING + GRUNNING * 8), %r10d
	jne 2f
	mov $GRUNNING, %r11d
2:	lea times(%rip), %r13
	movzbl (%r13, %r11), %r11d
	add %r9, G_TIMES(%r12, %r11, 8)
	mov %r9, G_LAST(%r12, %r11, 8)
	cmp $TIME_RUNNING, %r11d
	jne 14f
	cmpq $0, G_OWNER(%r12)
	jne 10f
8:	mov %r8, %rax
9:	ret

/* A child's time on a CPU: to its request's meter. A coroutine's is its caller's. */
10:	cmpq $COROUTINE_NO, G_COROUTINE(%r12)
	jne 15f
	push %rbx
	push %rcx
	mov G_OWNER(%r12), %r10
	mov G_OWNER_GENERATION(%r12), %rbx
	mov METER_CPU(%r10), %rax
	mov METER_CPU + 8(%r10), %rdx
11:	cmp %rbx, %rax
	jne 12f
	lea (%rdx, %r9), %rcx
	lock cmpxchg16b METER_CPU(%r10)
	jne 11b
	jmp 13f
12:	movq $0, G_OWNER(%r12)
13:	pop %rcx
	pop %rbx
	jmp 8b

/*
 * It isn't seen how a coroutine and its caller take turns: the caller's time on
 * a CPU goes on. Where the coroutine waits, or for a CPU, so does its caller.
 */
15:	cmpq $COROUTINE_OF_CHILD, G_COROUTINE(%r12)
	je 8b
	mov $COROUTINE_RUNS, %r11d
	mov $COROUTINE_WAITS, %edx
	cmp $GWAITING, %ecx
	cmove %edx, %r11d
	mov %r11, G_COROUTINE(%r12)
	jmp 8b
14:	mov G_COROUTINE(%r12), %rdx
	dec %rdx
	cmp $(COROUTINE_WAITS - 1), %rdx
	ja 8b			/* none, or a child's */
	mov G_OWNER(%r12), %r10
	test %r10, %r10
	jz 8b
	mov G_OWNER_GENERATION(%r12), %r13
	cmp METER_CHILDREN(%r10), %r13d
	jne 8b
	cmp $TIME_RUNNABLE, %r11d
	je 16f
	test %rdx, %rdx
	jz 8b			/* it was its caller's turn */
	movq $COROUTINE_RUNS, G_COROUTINE(%r12)
	lock add %r9, METER_AWAY(%r10)
	jmp 8b
16:	lock add %r9, METER_AWAY(%r10)
	lock add %r9, METER_AWAY_RUNNABLE(%r10)
	jmp 8b

20:	mov %r8, %r11
	call find_or_insert
	test %r12, %r12
	jnz 1b
	ret

/* Born, or born again. On whose behalf: of the request that its parent serves, or was itself started for. */
30:	movq $0, G_OWNER(%r12)
	movq $0, G_SERVING(%r12)
	xor %edx, %edx
	cmp $GWAITING, %ecx
	sete %dl
	mov %rdx, G_COROUTINE(%r12)
	cmpb $0, GO_SCHED + rqs_go(%rip)
	je 31f
	rdtsc
	shl $32, %rdx
	or %rdx, %rax
	mov %rax, G_SINCE(%r12)
	mov %r8, %rax
31:	mov G_M(%r14), %r13
	test %r13, %r13
	jz 9b
	mov GO_CURG + rqs_go(%rip), %rdx
	mov (%r13, %rdx), %r11
	test %r11, %r11
	jz 9b
	mov %r12, %r9
	ENTRY_OF %r11, 40f
32:	mov G_SERVING(%r12), %r13
	test %r13, %r13
	jz 33f
	mov G_SERVING_GENERATION(%r12), %rdx
	cmp METER_CHILDREN(%r13), %edx
	je 34f
33:	mov G_OWNER(%r12), %r13
	test %r13, %r13
	jz 9b
	mov G_OWNER_GENERATION(%r12), %rdx
	cmp METER_CHILDREN(%r13), %edx
	jne 9b
	cmpq $COROUTINE_NO, G_COROUTINE(%r9)
	je 34f
	movq $COROUTINE_OF_CHILD, G_COROUTINE(%r9)
34:	movq $1, METER_BORN(%r13)
	mov %rdx, G_OWNER_GENERATION(%r9)
	mov %r13, G_OWNER(%r9)
	ret
40:	call find_or_insert
	test %r12, %r12
	jnz 32b
	ret

/* ---- a system call begins: rax number; rbx rcx rdi rsi r8 r9 its arguments ---- */

/* r11 = the connection of the descriptor in \fd; jumps to \none where it is out of the table. */
.macro CONNECTION_OF fd, none
	cmp GO_CONNECTION_LIMIT + rqs_go(%rip), \fd
	jae \none
	imul $CONN_SIZE, \fd, %r11
	add GO_CONNECTIONS + rqs_go(%rip), %r11
.endm

/* r11 = the connection at r11's kind; jumps to \no where that is of no interest. Clobbers \scratch. */
.macro MATTERS no, scratch
	movzbl CONN_KIND(%r11), %r11d
	mov $KINDS_THAT_MATTER, \scratch
	bt %r11d, \scratch
	jnc \no
.endm

	.p2align 6
syscall_begins:
	mov %rax, %r12
	xor %r13d, %r13d
	cmp $1, %rax
	je write_begins
	jb read_begins
	cmp $63, %rax
	ja 1f
	mov calls_timed(%rip), %r11
	bt %rax, %r11
	jc write_begins
	mov calls_begun(%rip), %r11
	bt %rax, %r11
	jc call_begins
9:	ret
1:	cmp $281, %rax		/* epoll_pwait, the most frequent */
	je 9b
	cmp $151, %rax		/* mlockall */
	je call_begins
	cmp $157, %rax		/* prctl */
	je call_begins
	cmp $275, %rax		/* splice */
	je splice_begins
	cmp $299, %rax		/* recvmmsg */
	je call_begins
	cmp $307, %rax		/* sendmmsg */
	je write_begins
	cmp $317, %rax		/* seccomp */
	je call_begins
	cmp $322, %rax		/* execveat */
	je call_begins
	cmp $436, %rax		/* close_range */
	je call_begins
	ret

/* Bytes count as accepted from before the call, where it needn't wait (agent/hook/io.c). */
splice_begins:
	mov %rdi, %r10
	CONNECTION_OF %r10, 9b
	jmp 2f
write_begins:
	CONNECTION_OF %rbx, 9b
2:	MATTERS 9b, %r10d
	rdtsc
	shl $32, %rdx
	or %rax, %rdx
	mov %rdx, %r13
	mov %r12, %rax
	ret

/* A read of a stamped connection is made a recvmsg. Its message lies below the stack, where nobody comes by until it's done. */
	.p2align 4
read_begins:
	CONNECTION_OF %rbx, 9b
	cmpb $0, CONN_STAMPED(%r11)
	je 9b
	cmpb $KIND_SERVED, CONN_KIND(%r11)
	jne call_begins
	lea -1(%rdi), %r10
	cmp $0x7ffffffe, %r10
	jae 9b
	test %r10, %r10
	jz 3f
2:	lea -MESSAGE_BELOW(%rsp), %r13
	movq $0, (%r13)			/* name */
	movq $0, 8(%r13)		/* its length */
	lea MESSAGE_IOV(%r13), %r10
	mov %r10, 16(%r13)
	movq $1, 24(%r13)
	mov %rcx, MESSAGE_IOV(%r13)
	mov %rdi, MESSAGE_IOV + 8(%r13)
	lea MESSAGE_CONTROL(%r13), %r10
	mov %r10, 32(%r13)
	movq $MESSAGE_CONTROL_SIZE, 40(%r13)
	movq $0, 48(%r13)		/* flags, out */
	mov $CALL_STAMPED, %r12d
	mov $47, %eax			/* recvmsg */
	mov %r13, %rcx
	xor %edi, %edi
	ret
/* One byte is read ahead while a handler runs, mostly in vain: a plain read is cheaper, and what follows brings the stamp. */
3:	cmpb $0, CONN_AWAITS_STAMP(%r11)
	jne 2b
	jmp 9b

	.p2align 4
call_begins:
	cmpq $0, GO_CONTEXTS + rqs_go(%rip)
	je 1f
	TAKE_CONTEXT %r13, %r10d, CONTEXT_TRIES, 2f
	mov %rsp, CONTEXT_SP(%r13)
	lea CONTEXT_SIZE(%r13), %rsp
	push %rax			/* result: none yet */
	push %rax			/* number */
	pushq $0			/* extra */
	push %r9
	push %r8
	push %rsi
	push %rdi
	push %rcx
	push %rbx
	push %r14
	mov %r13, %rdi
	mov %rsp, %rsi
	cld
	call rqs_go_call_begins
	pop %r14
	pop %rbx
	pop %rcx
	pop %rdi
	pop %rsi
	pop %r8
	pop %r9
	pop %r10
	pop %rax
	mov %rax, %r12
	mov CONTEXT_SP(%r13), %rsp
	movq $0, CONTEXT_TAKEN(%r13)
	xor %r13d, %r13d
	xorps %xmm15, %xmm15
1:	ret
2:	lock incq GO_CONTENDED + rqs_go(%rip)
	xor %r13d, %r13d
	ret

/* ---- right before a SYSCALL: as above, with the arguments in rdi rsi rdx r10 r8 r9 ---- */

/* The goroutine is in r14 there as ever, also in functions of assembly; and nothing else is kept. */
	.globl rqs_go_syscall_loaded
	.hidden rqs_go_syscall_loaded
	.p2align 4
rqs_go_syscall_loaded:
	mov %rdi, %rbx
	mov %rsi, %rcx
	mov %rdx, %rdi
	mov %r10, %rsi
	call syscall_begins
	mov %rsi, %r10
	mov %rdi, %rdx
	mov %rcx, %rsi
	mov %rbx, %rdi
	ret

/* ---- behind the SYSCALL: rax result, r12 and r13 as left above, rdi rsi rdx r10 r8 r9 the arguments; rbx rcx r11 free ---- */

	.globl rqs_go_syscall_done
	.hidden rqs_go_syscall_done
	.p2align 6
rqs_go_syscall_done:
	cmp $1, %r12
	jbe transfer_done
	cmp $CALL_STAMPED, %r12
	je stamped_done
	cmp $63, %r12
	ja 1f
	mov calls_done(%rip), %r11
	bt %r12, %r11
	jc call_done
9:	ret
1:	cmp $281, %r12
	je 9b
	cmp $72, %r12		/* fcntl */
	je call_done
	cmp $275, %r12
	je call_done
	cmp $288, %r12		/* accept4 */
	je call_done
	cmp $292, %r12		/* dup3 */
	je call_done
	cmp $299, %r12
	je call_done
	cmp $307, %r12
	je call_done
	cmp $322, %r12
	je call_done
	cmp $425, %r12		/* io_uring_setup */
	je call_done
	ret

stamped_done:
	test %rax, %rax
	jg call_done
	jz 9b
	cmp $-11, %rax		/* EAGAIN: nothing there yet */
	je 9b
	jmp call_done

	.p2align 4
transfer_done:
	test %rax, %rax
	jle 9b
	CONNECTION_OF %rdi, 9b
	MATTERS 9b, %ecx

	.p2align 4
call_done:
	cmpq $0, GO_CONTEXTS + rqs_go(%rip)
	je 1f
	TAKE_CONTEXT %rbx, %ecx, CONTEXT_TRIES, 2f
	mov %rsp, CONTEXT_SP(%rbx)
	lea CONTEXT_SIZE(%rbx), %rsp
	push %rax
	push %r12
	push %r13
	push %r9
	push %r8
	push %r10
	push %rdx
	push %rsi
	push %rdi
	push %r14
	mov %rbx, %rdi
	mov %rsp, %rsi
	cld
	call rqs_go_call_done
	mov 24(%rsp), %rdx
	mov 72(%rsp), %rax
	mov CONTEXT_SP(%rbx), %rsp
	movq $0, CONTEXT_TAKEN(%rbx)
	xorps %xmm15, %xmm15
1:	ret
/* No context in time: what went by can't be told, so the connection is no longer followed. */
2:	lock incq GO_CONTENDED + rqs_go(%rip)
	CONNECTION_OF %rdi, 1b
	movb $KIND_OTHER, CONN_KIND(%r11)
	ret

	.section .rodata
	.p2align 3
/* System calls below 64, by bit. */
calls_timed:	/* sendfile, sendto, sendmsg, writev: when they begin matters */
	.quad 1 << 40 | 1 << 44 | 1 << 46 | 1 << 20
calls_begun:	/* close, connect, recvmsg, setsockopt, execve: looked at before */
	.quad 1 << 3 | 1 << 42 | 1 << 47 | 1 << 54 | 1 << 59
calls_done:	/* readv, writev, dup, dup2, sendfile, accept, sendto, recvfrom, sendmsg, recvmsg, shutdown, listen, execve */
	.quad 1 << 19 | 1 << 20 | 1 << 32 | 1 << 33 | 1 << 40 | 1 << 43 | 1 << 44 | 1 << 45 | 1 << 46 | 1 << 47 | 1 << 48 | 1 << 50 | 1 << 59
/* Where a slice of time belongs, by the status that it ends: a copied stack is its own work, a preempted one could run. */
times:
	.byte TIME_WAITING, TIME_RUNNABLE, TIME_RUNNING, TIME_RUNNING, TIME_WAITING, TIME_WAITING, TIME_WAITING, TIME_WAITING
	.byte TIME_RUNNING, TIME_RUNNABLE, TIME_WAITING, TIME_WAITING, TIME_WAITING, TIME_WAITING, TIME_WAITING, TIME_WAITING

	.section .note.GNU-stack, "", @progbits
