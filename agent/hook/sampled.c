/* sampled.c - samples of allocations as the hooks take them: the caller's registers, and whose the request is. */
#include "core/followed.h"
#include "core/sample.h"
#include "hook/hook.h"
#include "os/host.h"

bool rqs_sampling;

void rqs_sampling_begin(void)
{
	rqs_store(&rqs_sampling, true);
	rqs_host_sample();
	rqs_memory_follow(true);
}

/* Unlike rqs_enter() counts no calls that a signal handler makes: these say what is lost by a number of their own. */
static bool enter(struct rqs_call *call)
{
	return !rqs_self.busy && rqs_enter(call);
}

void rqs_sampling_ends(void)
{
	struct rqs_call call;

	/* A thread that is unknown yet stays so. */
	if (!rqs_worker_ready(&rqs_agent, &rqs_self) || !enter(&call))
		return;
	rqs_sample_tell_untold(&rqs_agent, call.worker);
	rqs_leave();
}

void rqs_sampling_end(void)
{
	rqs_memory_follow(false);
	rqs_store(&rqs_sampling, false);
}

void rqs_sampling_ended(void)
{
	rqs_host_sample_no_more();
}

/* Of this very place: who unwinds from it knows it by our .eh_frame, and leaves our own frames out. */
#define CAPTURE(registers)                                                    \
	__asm__ volatile("leaq 0f(%%rip), %%rax\n"                            \
			 "0:	movq %%rax, %c[rip](%[to])\n"                \
			 "	movq %%rsp, %c[rsp](%[to])\n"                \
			 "	movq %%rbp, %c[rbp](%[to])\n"                \
			 "	movq %%rbx, %c[rbx](%[to])\n"                \
			 "	movq %%r12, %c[r12](%[to])\n"                \
			 "	movq %%r13, %c[r13](%[to])\n"                \
			 "	movq %%r14, %c[r14](%[to])\n"                \
			 "	movq %%r15, %c[r15](%[to])\n"                \
			 :                                                    \
			 : [to] "r"(registers), [rip] "i"(8 * RQS_SAMPLE_RIP), \
			   [rsp] "i"(8 * RQS_SAMPLE_RSP), [rbp] "i"(8 * RQS_SAMPLE_RBP), \
			   [rbx] "i"(8 * RQS_SAMPLE_RBX), [r12] "i"(8 * RQS_SAMPLE_R12), \
			   [r13] "i"(8 * RQS_SAMPLE_R13), [r14] "i"(8 * RQS_SAMPLE_R14), \
			   [r15] "i"(8 * RQS_SAMPLE_R15)                      \
			 : "rax", "memory")

/* Below the stack that is copied, as runtimes' frames take some room. */
static void __attribute__((noinline)) commit(const struct rqs_call *call, struct rqs_sample_facts *facts)
{
	struct rqs_sample_frame frames[RQS_SAMPLE_FRAMES];

	facts->frames = frames;
	if (rqs_agent.meter->sampled)
		rqs_agent.meter->sampled(call, facts);
	rqs_sample_commit(&rqs_agent, call->worker, facts);
}

__attribute__((noinline)) void rqs_sampled(enum rqs_sample_kind kind, const void *memory, size_t bytes)
{
	uint64_t registers[RQS_SAMPLE_REGISTERS];
	struct rqs_call call;

	if (!enter(&call)) {
		if (rqs_agent_on(&rqs_agent))
			rqs_count(&rqs_agent, RQS_EVENT_SAMPLE_LOST);
		return;
	}
	CAPTURE(registers);
	struct rqs_sample_facts facts = {
		.kind = kind, .bytes = bytes, .memory = memory, .slot = RQS_SAMPLE_NO_SLOT, .registers = registers
	};
	commit(&call, &facts);
	rqs_leave();
}

/* A vfork's child, too, frees what is then free in its parent. */
static void ended(uint64_t followed, bool withdrawn)
{
	struct rqs_call call;

	if (enter(&call)) {
		rqs_sample_ended(&rqs_agent, call.worker, followed, withdrawn);
		rqs_leave();
	} else if (rqs_agent_on(&rqs_agent)) {
		rqs_sample_ended_later(&rqs_agent, followed, withdrawn);
	}
}

void rqs_sampled_freed(const void *memory)
{
	uint64_t followed = rqs_followed_take(memory);

	if (followed)
		ended(followed, false);
}

void rqs_sampled_withdrawn(const void *memory)
{
	uint64_t followed = rqs_followed_take(memory);

	if (followed)
		ended(followed, true);
}

void rqs_sampled_shrunk(enum rqs_sample_kind kind, const void *memory, uint64_t followed, size_t from, size_t to)
{
	struct rqs_call call;

	if (!enter(&call)) {
		rqs_sampled_moved(memory, followed, false);
		return;
	}
	bool stays = rqs_sample_stays(&rqs_agent, call.worker, from, to);
	rqs_leave();
	ended(followed, true);
	if (stays)
		rqs_sampled(kind, memory, to);
}

void rqs_sampled_moved(const void *memory, uint64_t followed, bool moved)
{
	if (followed && (moved || !rqs_followed_add(memory, followed)))
		ended(followed, false);
}
