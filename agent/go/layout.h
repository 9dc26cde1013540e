/*
 * layout.h - offsets that entries.S and the C code beside it share; C checks
 * them (go_start.c). For the assembler, too: nothing but definitions.
 */
#ifndef REQSCOPE_GO_LAYOUT_H
#define REQSCOPE_GO_LAYOUT_H

/* struct rqs_go */
#define GO_GOROUTINES 0
#define GO_GOROUTINE_MASK 8
#define GO_GOROUTINES_END 16
#define GO_TABLE 24
#define GO_CONTEXTS 32
#define GO_CONNECTIONS 40
#define GO_CONNECTION_LIMIT 48
#define GO_CURG 56
#define GO_SCHED 64
#define GO_CONTENDED 72
#define GO_SAMPLE 80
#define GO_SAMPLES_LOST 88

/* struct rqs_goroutine, rqs_table (reqscope/region.h) */
#define G_KEY 0
#define G_ALLOC_BYTES 8
#define G_ALLOC_COUNT 16
#define G_OWNER 24
#define G_OWNER_GENERATION 32
#define G_SERVING 40
#define G_SERVING_GENERATION 48
/* Added to the bytes so far there is a carry where a sample is due; G_SAMPLE_UNDRAWN: at the next allocation of all. */
#define G_SAMPLE 56
#define G_SAMPLE_UNDRAWN -1
#define G_COROUTINE 96
/* A coroutine's states; or it is one of a request's child. RUNS is where it is born, too. */
#define COROUTINE_NO 0
#define COROUTINE_RUNS 1
#define COROUTINE_WAITS 2
#define COROUTINE_OF_CHILD 3
#define G_SINCE 64
#define G_TIMES 72 /* three */
#define G_LAST 104
#define G_SIZE 128
#define TABLE_LOST_BYTES 0
#define TABLE_LOST_COUNT 8

/* Index into the times of a goroutine. */
#define TIME_WAITING 0
#define TIME_RUNNABLE 1
#define TIME_RUNNING 2

/* struct rqs_go_meter */
#define METER_CHILDREN 0
#define METER_CPU 16
#define METER_AWAY 32
#define METER_AWAY_RUNNABLE 40
#define METER_BORN 64

/* struct rqs_go_context: a stack, used downwards from its end; the struct lies at its beginning. */
#define CONTEXT_TAKEN 0
#define CONTEXT_SP 8
#define CONTEXT_SIZE 65536
#define CONTEXT_COUNT 256
#define CONTEXT_TRIES 16384 /* where what is done meanwhile would be lost for more than one call */

/* struct rqs_conn */
#define CONN_SIZE 576
#define CONN_KIND 16
#define CONN_STAMPED 19
#define CONN_AWAITS_STAMP 21
#define KIND_SERVED 1
#define KIND_OTHER 5
/* Kinds worth telling of, by bit: unknown, served, alias, resync, passed. */
#define KINDS_THAT_MATTER 0x5b

/* What the SYSCALL entry leaves in R12: the number, and whether a read was made a recvmsg that brings a stamp. */
#define CALL_STAMPED 0x10000
/* In R13, below the stack: struct msghdr, struct iovec, control data. */
#define MESSAGE_BELOW 0xc0
#define MESSAGE_IOV 56
#define MESSAGE_CONTROL 72
#define MESSAGE_CONTROL_SIZE 32

/* Goroutines' status (runtime2.go). */
#define GIDLE 0
#define GRUNNABLE 1
#define GRUNNING 2
#define GSYSCALL 3
#define GWAITING 4
#define GDEAD 6
#define GCOPYSTACK 8
#define GPREEMPTED 9
/* Offset of runtime.g's m, the same since Go 1.3 at least; goroutines are aligned so that bits 9 and up tell most of them apart. */
#define G_M 0x30
/* The end of its stack; and of runtime.m the goroutine that schedules: the first members, the same as long. */
#define G_STACK_HI 8
#define M_G0 0
/* Its stack's guard; and what is there instead (runtime/stack.go): it forks; it is to give way, or in a system call. */
#define G_STACK_GUARD 0x10
#define STACK_FORK ((uint64_t)-1234)
#define STACK_PREEMPT ((uint64_t)-1314)

#endif
