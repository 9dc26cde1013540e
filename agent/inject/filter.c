/* filter.c - see filter.h. Filters are programs of the classic BPF, run here as the kernel does (kernel/seccomp.c). */
#include "inject/filter.h"

#include "inject/task.h"
#include "os/sys.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILTERS 64 /* more are taken for one that forbids */

struct machine {
	uint32_t a, x, memory[BPF_MEMWORDS];
	const struct seccomp_data *data;
};

/* False: it ends there. */
static bool calculate(struct machine *m, const struct sock_filter *step)
{
	uint32_t with = BPF_SRC(step->code) == BPF_X ? m->x : step->k;

	switch (BPF_OP(step->code)) {
	case BPF_ADD:
		m->a += with;
		return true;
	case BPF_SUB:
		m->a -= with;
		return true;
	case BPF_MUL:
		m->a *= with;
		return true;
	case BPF_DIV:
		m->a = with ? m->a / with : 0;
		return with != 0;
	case BPF_OR:
		m->a |= with;
		return true;
	case BPF_AND:
		m->a &= with;
		return true;
	case BPF_XOR:
		m->a ^= with;
		return true;
	case BPF_LSH:
		m->a = with < 32 ? m->a << with : 0;
		return true;
	case BPF_RSH:
		m->a = with < 32 ? m->a >> with : 0;
		return true;
	case BPF_NEG:
		m->a = -m->a;
		return true;
	default:
		return false;
	}
}

static bool is_true(const struct machine *m, const struct sock_filter *step)
{
	uint32_t with = BPF_SRC(step->code) == BPF_X ? m->x : step->k;

	switch (BPF_OP(step->code)) {
	case BPF_JEQ:
		return m->a == with;
	case BPF_JGT:
		return m->a > with;
	case BPF_JGE:
		return m->a >= with;
	default:
		return m->a & with; /* BPF_JSET */
	}
}

static bool load(struct machine *m, const struct sock_filter *step)
{
	uint32_t value = step->k;

	if (BPF_MODE(step->code) == BPF_ABS && step->k <= sizeof(*m->data) - sizeof(value))
		memcpy(&value, (const char *)m->data + step->k, sizeof(value));
	else if (BPF_MODE(step->code) == BPF_MEM && step->k < BPF_MEMWORDS)
		value = m->memory[step->k];
	else if (BPF_MODE(step->code) == BPF_LEN)
		value = sizeof(*m->data);
	else if (BPF_MODE(step->code) != BPF_IMM)
		return false;
	if (BPF_CLASS(step->code) == BPF_LD)
		m->a = value;
	else
		m->x = value;
	return true;
}

/* One that isn't understood is taken for one that kills. */
static uint32_t run(const struct sock_filter *program, size_t count, const struct seccomp_data *data)
{
	struct machine m = {.data = data};

	for (size_t at = 0; at < count; at++) {
		const struct sock_filter *step = &program[at];
		bool good = true;

		switch (BPF_CLASS(step->code)) {
		case BPF_LD:
		case BPF_LDX:
			good = load(&m, step);
			break;
		case BPF_ST:
			m.memory[step->k % BPF_MEMWORDS] = m.a;
			break;
		case BPF_STX:
			m.memory[step->k % BPF_MEMWORDS] = m.x;
			break;
		case BPF_ALU:
			good = calculate(&m, step);
			break;
		case BPF_JMP:
			at += BPF_OP(step->code) == BPF_JA ? step->k : is_true(&m, step) ? step->jt : step->jf;
			break;
		case BPF_MISC:
			if (BPF_MISCOP(step->code) == BPF_TAX)
				m.x = m.a;
			else
				m.a = m.x;
			break;
		default:
			return BPF_RVAL(step->code) == BPF_A ? m.a : step->k;
		}
		if (!good)
			break;
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static bool allows(const struct sock_filter *program, size_t count, const short *numbers)
{
	for (; *numbers >= 0; numbers++) {
		struct seccomp_data data = {.nr = *numbers, .arch = AUDIT_ARCH_X86_64};
		uint32_t action = run(program, count, &data) & SECCOMP_RET_ACTION_FULL;

		if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG)
			return false;
	}
	return true;
}

#define FIRST_PID_NAMESPACE "pid:[4026531836]" /* PROC_PID_INIT_INO of linux/proc_ns.h */

static bool is_in_our_container(pid_t pid)
{
	char path[64], its[64] = "", ours[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	return readlink(path, its, sizeof(its) - 1) > 0 && readlink("/proc/self/ns/pid", ours, sizeof(ours) - 1) > 0 &&
	       !strcmp(its, ours) && strcmp(ours, FIRST_PID_NAMESPACE);
}

/*
 * Filters are never taken off, and come with a fork: where a container gave us
 * some, as many are those that we live behind, too. Elsewhere as many say nothing.
 */
static bool has_ours_alone(pid_t pid, pid_t tid)
{
	static const char name[] = "Seccomp_filters:";
	uint64_t its = rqs_task_number(pid, tid, name, 10, 0);

	return its && its == rqs_task_number(getpid(), getpid(), name, 10, 0) && is_in_our_container(pid);
}

bool rqs_filter_allows(pid_t pid, pid_t tid, const short *numbers, bool *unknown)
{
	struct sock_filter program[BPF_MAXINSNS];
	uint64_t mode = rqs_task_number(pid, tid, "Seccomp:", 10, SECCOMP_MODE_DISABLED);

	*unknown = false;
	if (mode != SECCOMP_MODE_FILTER)
		return mode == SECCOMP_MODE_DISABLED;
	for (unsigned i = 0; i < FILTERS; i++) {
		long count = rqs_sys4(SYS_ptrace, PTRACE_SECCOMP_GET_FILTER, tid, i, program);

		if (count == -ENOENT && i)
			return true;
		if (count <= 0 && has_ours_alone(pid, tid))
			return true;
		*unknown = count <= 0;
		if (*unknown || !allows(program, (size_t)count, numbers))
			return false;
	}
	return false;
}
