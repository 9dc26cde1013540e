/*
 * go_sample.c - sampled allocations of a Go program. Points lie along each
 * goroutine's bytes (entries.S counts them anyway), so that nothing but an
 * addition tells whether one was passed.
 *
 * Runs inside of runtime.mallocgc, whoever calls it with whatever locks held.
 */
#include "go/go.h"

#include "core/sample.h"

#define PAGE 4096u
#define STACK_MAX (1ull << 30) /* a goroutine's (runtime/proc.go) */

static uint64_t word_at(uint64_t address)
{
	return *(const uint64_t *)address;
}

/* The scheduler's and signals' stacks: their bounds are guesses where C made the thread. */
static bool is_system_stack(uint64_t g)
{
	uint64_t m = word_at(g + G_M);

	return !m || word_at(m + M_G0) == g;
}

static uint64_t stack_end(uint64_t g, uint64_t from)
{
	uint64_t end = word_at(g + G_STACK_HI) & ~7ull, page_end = (from | (PAGE - 1)) + 1;

	if (end <= from || end - from > STACK_MAX || (is_system_stack(g) && end > page_end))
		return page_end;
	return end;
}

/* By the rules of the request's own figures: what is in none of these belongs to no request here either. */
static void set_request(struct rqs_sample_facts *facts, const struct rqs_goroutine *goroutine)
{
	const uint32_t alloc = RQS_MEASURES_ALLOC | RQS_MEASURES_CHILDREN;

	if ((rqs_go.agent->measures & alloc) == alloc && rqs_go_request_of(goroutine, &facts->slot, &facts->ordinal))
		return;
	facts->slot = RQS_SAMPLE_NO_SLOT;
	facts->ordinal = 0;
}

static void commit(struct rqs_agent *agent, struct rqs_worker *worker, const struct rqs_go_due *due)
{
	const uint64_t *stack = due->stack;
	const uint64_t registers[RQS_SAMPLE_REGISTERS] = {
	    [RQS_SAMPLE_RIP] = stack[0],
	    [RQS_SAMPLE_RSP] = (uint64_t)(stack + 1),
	    [RQS_SAMPLE_RBP] = due->rbp,
	    [RQS_SAMPLE_R14] = due->g,
	};
	struct rqs_sample_facts facts = {
	    .kind = RQS_SAMPLE_GO,
	    .bytes = due->bytes,
	    .registers = registers,
	    .stack_end = stack_end(due->g, (uint64_t)(stack + 1)),
	};

	set_request(&facts, due->goroutine);
	rqs_sample_commit(agent, worker, &facts);
}

/* Points are without memory: from wherever the last one was passed to, or the first one is looked for. */
static void draw(struct rqs_worker *worker, struct rqs_goroutine *goroutine, uint64_t from)
{
	goroutine->sample = -(from + rqs_sample_distance(&worker->random, rqs_go.agent->region->sample_bytes));
}

static bool is_passed(const struct rqs_goroutine *goroutine)
{
	return goroutine->alloc_bytes >= -goroutine->sample;
}

void rqs_go_sample_due(struct rqs_go_context *context, const struct rqs_go_due *due)
{
	struct rqs_agent *agent = rqs_go.agent;
	struct rqs_goroutine *goroutine = due->goroutine;

	/* A recording that has ended doesn't go on: the goroutine's allocations are as quick as without samples. */
	if (!agent || !rqs_agent_on(agent)) {
		goroutine->sample = 0;
		return;
	}
	if (!rqs_worker_enter(agent, &context->worker)) {
		goroutine->sample = (uint64_t)G_SAMPLE_UNDRAWN;
		return;
	}
	if (goroutine->sample == (uint64_t)G_SAMPLE_UNDRAWN)
		draw(&context->worker, goroutine, goroutine->alloc_bytes - due->bytes);
	if (!is_passed(goroutine))
		return;
	draw(&context->worker, goroutine, goroutine->alloc_bytes);
	commit(agent, &context->worker, due);
}
