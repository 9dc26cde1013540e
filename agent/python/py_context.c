/*
 * py_context.c - the context variable: what is written in it, when, and how
 * its value is read without asking Python at every allocation.
 *
 * A value is a number. Its lowest two bits say what it names:
 *    a request     descriptor and sequence number; the usual case
 *    a connection  descriptor and serial number: set when it is accepted, so
 *                  that what its task does before a request is known, too
 *    a thread      number: set once in a thread that serves one at a time
 *
 * Setting takes the GIL, or the main thread's next moment between two
 * bytecodes (Py_AddPendingCall): that comes before the server, told that there
 * is data, starts a task, whose copy of the context then has the value.
 */
#include "hook/hook.h"
#include "python/py.h"
#include "python/py_api.h"

#include "os/reserve.h"
#include "os/sys.h"

#include <string.h>
#include <time.h>

#define REQUESTS (RQS_CHUNKS * 64u)
#define THREADS 65536u /* thread slots; beyond them threads aren't named */

enum { IS_REQUEST = 0, IS_CONNECTION = 1, IS_THREAD = 2 };
#define KIND_BITS 2
#define DESCRIPTOR_BITS 20
#define DESCRIPTOR_MASK ((1u << DESCRIPTOR_BITS) - 1)

struct connection {
	uint32_t serial;
	uint64_t since;                 /* requests of this connection have higher sequence numbers */
	struct rqs_py_request *request; /* open on it, NULL none */
};

struct thread_slot {
	struct rqs_py_request *request;
	uint64_t id;
};

_Thread_local struct rqs_py_thread rqs_py_self;
int rqs_py_context_offset = -1, rqs_py_version_offset = -1, rqs_py_variables_offset = -1;

static void *variable;
static struct rqs_py_request *requests;
static struct connection *connections;
static struct thread_slot *thread_slots;
static uint32_t threads_named;
static uint64_t sequence_numbers;
/*
 * In some servers (Tornado) a connection has one task for all its requests,
 * which keeps the value of the first. Once seen, a request that has ended
 * stands for the one that is open on its connection.
 */
static bool tasks_outlive_requests;
static uint64_t unsure_until; /* the last request that began before that was known */

struct rqs_py_request *rqs_py_request_at(uint32_t slot)
{
	return &requests[slot];
}

static struct connection *connection_of(int fd)
{
	return fd >= 0 && (uint32_t)fd < RQS_DESCRIPTORS ? &connections[fd] : NULL;
}

/* ---- charging ---- */

/* Of an event loop time is what passes between its waits; others have the processor for parts of it only. */
static uint64_t cpu_now(const struct rqs_py_thread *thread)
{
	struct timespec now;

	if (thread->is_loop)
		return rqs_now(&rqs_agent);
	/* A system call, which a filter may forbid; the time so far is all there is then. */
	if (rqs_load_relaxed(&rqs_agent.frozen))
		return thread->since;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void rqs_py_switch(struct rqs_py_thread *thread, struct rqs_py_request *request, uint32_t id)
{
	struct rqs_py_request *before = thread->owner;

	if (request == before && id == thread->owner_id)
		return;
	bool charge = before && rqs_load_relaxed(&before->live) == thread->owner_id && thread->since;
	if (charge || request) {
		uint64_t now = cpu_now(thread);

		if (charge)
			rqs_add(thread->is_loop ? &before->cpu_ticks : &before->cpu_ns, now - thread->since);
		thread->since = now;
	}
	thread->owner = request;
	thread->owner_id = id;
}

/* ---- reading the variable ---- */

static bool is_open(const struct rqs_py_request *request)
{
	return request && rqs_load_relaxed(&request->live);
}

static struct rqs_py_request *open_on(int fd)
{
	const struct connection *connection = connection_of(fd);

	return connection && is_open(connection->request) ? connection->request : NULL;
}

struct found {
	struct rqs_py_request *request;
	uint32_t id;
	int fd; /* of an ended one */
};

static struct found whole(struct rqs_py_request *request)
{
	return (struct found){ .request = request, .id = request ? request->live : 0 };
}

/* What an ended request's tasks still do. */
static struct rqs_py_request ended;

static struct found by_request(const struct rqs_py_thread *thread, uint64_t value)
{
	int fd = (int)(value & DESCRIPTOR_MASK);
	uint64_t sequence = value >> DESCRIPTOR_BITS;
	const struct connection *connection = connection_of(fd);
	struct rqs_py_request *request = open_on(fd);

	/* There the value is that of the connection read last, whatever it says. */
	if (thread->context && thread->context == thread->shared_context && fd != thread->last_fd)
		return whole(open_on(thread->last_fd));
	if (request && request->sequence == sequence)
		return whole(request);
	if (tasks_outlive_requests && connection && sequence > connection->since)
		return whole(request);
	return (struct found){ .request = &ended, .id = 1, .fd = fd };
}

static struct found by_connection(const struct rqs_py_thread *thread, uint64_t value)
{
	int fd = (int)(value & DESCRIPTOR_MASK);
	const struct connection *connection = connection_of(fd);

	/* Where connections are accepted the value is left behind by the last of them. */
	if (!connection || connection->serial != (uint32_t)(value >> DESCRIPTOR_BITS) ||
	    (thread->accept_context && thread->accept_context == thread->context))
		return (struct found){ .request = NULL };
	return whole(open_on(fd));
}

static struct found by_thread(uint64_t value)
{
	const struct thread_slot *slot = &thread_slots[value % THREADS];
	bool is_current = is_open(slot->request) && slot->request->live == slot->id;

	/* Between two requests the thread is the server's own. */
	return (struct found){ .request = is_current ? slot->request : NULL, .id = (uint32_t)slot->id };
}

/* Where the variable was made; objects of one interpreter are none of another's. */
static void *interpreter;

bool rqs_py_is_elsewhere(void)
{
	return rqs_py.interpreter && rqs_py.interpreter() != interpreter;
}

static struct found by_variable(const struct rqs_py_thread *thread)
{
	struct found none = { .request = NULL };
	void *object = NULL;

	if (rqs_py.PyContextVar_Get(variable, NULL, &object) || !object)
		return none;
	uint64_t number = rqs_py.PyLong_AsUnsignedLongLong(object);
	uint64_t value = number >> KIND_BITS;
	rqs_py.Py_DecRef(object);
	switch (number & ((1u << KIND_BITS) - 1)) {
	case IS_REQUEST:
		return by_request(thread, value);
	case IS_CONNECTION:
		return by_connection(thread, value);
	case IS_THREAD:
		return by_thread(value);
	default:
		return none;
	}
}

void rqs_py_resolve(struct rqs_py_thread *thread, void *state)
{
	bool inside = thread->inside;

	thread->inside = true;
	thread->state = state;
	thread->context = rqs_py_context_offset < 0 ? NULL : *(void **)((char *)state + rqs_py_context_offset);
	bool elsewhere = rqs_py_is_elsewhere();
	struct found found = { .request = NULL };
	if (!elsewhere)
		found = by_variable(thread);
	thread->inside = inside;
	if (rqs_unlikely(elsewhere)) {
		rqs_py_memory_shared();
		rqs_py_switch(thread, NULL, 0);
		return;
	}
	/* A thread that serves one request at a time works for the one that it has read. */
	if (!thread->is_loop && (!found.request || found.request->live != found.id) && is_open(thread->served) &&
	    thread->served->live == thread->served_id)
		found = whole(thread->served);
	if (!found.request && thread->aftermath)
		found = (struct found){ .request = &ended, .id = 1, .fd = -1 };
	rqs_py_switch(thread, found.request, found.id);
	thread->owner_fd = found.fd;
}

/* ---- writing it ---- */

static void *context_now(void)
{
	void *state = rqs_py.thread_state();

	return state && rqs_py_context_offset >= 0 ? *(void **)((char *)state + rqs_py_context_offset) : NULL;
}

/*
 * Some loops have one context for all their connections (uvloop). It is known
 * by the request of another live connection being named where one is named now.
 */
static bool names_another(uint64_t number)
{
	uint64_t before = 0;
	void *object = NULL;

	if (rqs_py.PyContextVar_Get(variable, NULL, &object) || !object)
		return false;
	before = rqs_py.PyLong_AsUnsignedLongLong(object);
	rqs_py.Py_DecRef(object);
	if ((before & 3) != IS_REQUEST || (number & 3) != IS_REQUEST)
		return false;
	uint64_t fd = before >> KIND_BITS & DESCRIPTOR_MASK;
	const struct connection *connection = connection_of((int)fd);
	return fd != (number >> KIND_BITS & DESCRIPTOR_MASK) && connection && connection->serial &&
	       before >> KIND_BITS >> DESCRIPTOR_BITS > connection->since;
}

static void set(uint64_t number)
{
	struct rqs_py_thread *thread = &rqs_py_self;
	bool inside = thread->inside;

	if (rqs_py_is_elsewhere())
		return;
	thread->inside = true;
	if (thread->is_loop && names_another(number))
		thread->shared_context = context_now();
	void *value = rqs_py.PyLong_FromUnsignedLongLong(number);
	void *token = value ? rqs_py.PyContextVar_Set(variable, value) : NULL;
	if (token)
		rqs_py.Py_DecRef(token);
	else
		rqs_py.PyErr_Clear();
	if (value)
		rqs_py.Py_DecRef(value);
	if ((number & 3) == IS_CONNECTION)
		thread->accept_context = context_now();
	thread->state = NULL;
	thread->inside = inside;
}

static int set_pending(void *number)
{
	set((uint64_t)number);
	return 0;
}

/* The calling thread has no GIL, or has it: both are right. */
static void set_now(uint64_t number)
{
	bool inside = rqs_py_self.inside;

	rqs_py_self.inside = true;
	int gil = rqs_py.PyGILState_Ensure();
	set(number);
	rqs_py.PyGILState_Release(gil);
	rqs_py_self.inside = inside;
}

static void set_soon(const struct rqs_py_thread *thread, uint64_t number)
{
	if (thread->is_main)
		rqs_py.Py_AddPendingCall(set_pending, (void *)number);
	else if (rqs_py.PyGILState_GetThisThreadState())
		set_now(number);
}

static void name_thread(struct rqs_py_thread *thread)
{
	if (!thread->number && rqs_py.PyGILState_GetThisThreadState()) {
		thread->number = rqs_add(&threads_named, 1) + 1;
		if (thread->number < THREADS)
			set_now((uint64_t)thread->number << KIND_BITS | IS_THREAD);
	}
	if (thread->number && thread->number < THREADS) {
		thread_slots[thread->number].request = thread->served;
		thread_slots[thread->number].id = thread->served_id;
	}
}

void rqs_py_name_request(struct rqs_py_thread *thread, struct rqs_py_request *request)
{
	struct connection *connection = connection_of(request->fd);

	request->sequence = rqs_add(&sequence_numbers, 1) + 1;
	if (connection) {
		connection->request = request;
		if (!connection->serial)
			connection->serial = 1; /* it came otherwise than by accept */
	}
	thread->state = NULL;
	if (!thread->is_loop)
		name_thread(thread);
	else
		set_soon(thread, (request->sequence << DESCRIPTOR_BITS | ((uint32_t)request->fd & DESCRIPTOR_MASK))
						 << KIND_BITS |
					 IS_REQUEST);
}

void rqs_py_accepted(int fd)
{
	struct rqs_py_thread *thread = &rqs_py_self;
	struct connection *connection = connection_of(fd);

	if (!connection)
		return;
	connection->serial++;
	connection->since = rqs_load_relaxed(&sequence_numbers);
	connection->request = NULL;
	thread->state = NULL;
	if (thread->is_loop)
		set_soon(thread, ((uint64_t)connection->serial << DESCRIPTOR_BITS | (uint32_t)fd) << KIND_BITS | IS_CONNECTION);
}

void rqs_py_closing(int fd)
{
	struct connection *connection = connection_of(fd);

	if (connection && connection->serial) {
		connection->serial++;
		connection->since = rqs_load_relaxed(&sequence_numbers);
		connection->request = NULL;
	}
}

/*
 * The response is being sent in the name of a request that has ended. What was
 * charged to that is missing here: no number rather than a wrong one.
 */
void rqs_py_notice_stale(const struct rqs_py_thread *thread, struct rqs_py_request *request)
{
	if (thread->is_loop && thread->owner == &ended)
		request->handed_over = true;
	if (thread->owner != &ended || thread->owner_fd != request->fd)
		return;
	rqs_store_relaxed(&unsure_until, rqs_load_relaxed(&sequence_numbers));
	tasks_outlive_requests = true;
}

bool rqs_py_is_sure(const struct rqs_py_request *request)
{
	return request->sequence > rqs_load_relaxed(&unsure_until);
}

/* ---- installing ---- */

static bool map_tables(void)
{
	requests = rqs_reserve_sparse(REQUESTS * sizeof(*requests));
	connections = rqs_reserve_sparse(RQS_DESCRIPTORS * sizeof(*connections));
	thread_slots = rqs_reserve_sparse(THREADS * sizeof(*thread_slots));
	return requests && connections && thread_slots;
}

#define STATE_WORDS 44 /* of PyThreadState: where the context has been in all versions so far, and some more */
#define CONTEXT_WORDS 8

/* In a fresh context: the word that has become its address is the one that we look for, and its version counts on. */
static void find_in_state(void *context)
{
	uint64_t before[STATE_WORDS], in[STATE_WORDS];
	void *state = rqs_py.thread_state();

	memcpy(before, state, sizeof(before));
	if (rqs_py.PyContext_Enter(context))
		return;
	memcpy(in, state, sizeof(in));
	for (int i = 0; i < STATE_WORDS; i++)
		if (in[i] == (uint64_t)context && before[i] != in[i])
			rqs_py_context_offset = i * 8;
	int next = rqs_py_context_offset / 8 + 1;
	if (rqs_py_context_offset >= 0 && next < STATE_WORDS && in[next] == before[next] + 1)
		rqs_py_version_offset = next * 8;
}

/* Within the entered context: the word that changes when a variable is set is its map of variables. */
static void find_in_context(const void *context)
{
	uint64_t before[CONTEXT_WORDS], after[CONTEXT_WORDS];
	int head = 2; /* words of an object's header: counts and type, which change as well */

	memcpy(before, context, sizeof(before));
	set(0);
	memcpy(after, context, sizeof(after));
	for (int i = head; i < CONTEXT_WORDS; i++) {
		if (before[i] != after[i] && after[i] > 4096) {
			rqs_py_variables_offset = i * 8;
			return;
		}
	}
}

bool rqs_py_context_install(void)
{
	if (!map_tables())
		return false;
	interpreter = rqs_py.interpreter ? rqs_py.interpreter() : NULL;
	variable = rqs_py.PyContextVar_New("reqscope", NULL);
	void *context = variable ? rqs_py.PyContext_New() : NULL;
	if (!context) {
		rqs_py.PyErr_Clear();
		return false;
	}
	find_in_state(context);
	if (rqs_py_context_offset >= 0)
		find_in_context(context);
	rqs_py.PyContext_Exit(context);
	rqs_py.Py_DecRef(context);
	rqs_py_self.accept_context = NULL;
	return rqs_py_context_offset >= 0 && rqs_py_version_offset >= 0 && rqs_py_variables_offset >= 0;
}
