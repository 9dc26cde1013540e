/*
 * py_context.c - the context variable: what is written in it, when, and how
 * its value is read without asking Python at every allocation.
 *
 * A value is a number. Its lowest two bits say what it names:
 *    a request     descriptor and sequence number; the usual case
 *    a connection  descriptor and serial number: set when it is accepted, so
 *                  that what its task does before a request is known, too
 *    a thread      number: set once in a thread that serves one at a time
 *    nothing       where what is named would be wrong
 *
 * Setting takes the GIL, or the main thread's next moment between two
 * bytecodes (Py_AddPendingCall): that comes before the server, told that there
 * is data, starts a task, whose copy of the context then has the value.
 */
#include "hook/hook.h"
#include "hook/objects.h"
#include "python/py.h"
#include "python/py_api.h"

#include "os/reserve.h"
#include "os/sys.h"

#include <string.h>

#define REQUESTS (RQS_CHUNKS * 64u)
#define THREADS 65536u /* thread slots; beyond them threads aren't named */

enum { IS_REQUEST = 0, IS_CONNECTION = 1, IS_THREAD = 2, IS_NOTHING = 3 };
#define KIND_BITS 2
#define KIND_MASK ((1u << KIND_BITS) - 1)
#define DESCRIPTOR_BITS 20
#define DESCRIPTOR_MASK ((1u << DESCRIPTOR_BITS) - 1)

struct thread_slot {
	struct rqs_py_request *request;
	uint64_t id;
};

_Thread_local struct rqs_py_thread rqs_py_self;
int rqs_py_context_offset = -1, rqs_py_version_offset = -1, rqs_py_variables_offset = -1;

static void *variable;
static struct rqs_py_request *requests;
static struct thread_slot *thread_slots;
static uint32_t threads_named;
static uint64_t sequence_numbers;

struct rqs_py_request *rqs_py_request_at(uint32_t slot)
{
	return &requests[slot];
}

/* ---- charging ---- */

void rqs_py_switch(struct rqs_py_thread *thread, struct rqs_py_request *request, uint32_t id)
{
	struct rqs_py_request *before = thread->owner;

	if (request == before && id == thread->owner_id)
		return;
	rqs_py_settle(thread);
	bool charge = thread->since && rqs_py_is_still(before, thread->owner_id);
	if (charge || request) {
		uint64_t now = rqs_py_clock(thread);

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

static int adopt_pending(void *fd);
static int unname_pending(void *nothing);

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

static const struct found nobodys = { .request = NULL, .fd = -1 };

/* In a context that isn't a connection's own, what is named there is right from being set until it is left. */
static bool is_left(const struct rqs_py_thread *thread)
{
	if (!thread->context)
		return false;
	if (thread->context == thread->shared_context)
		return thread->version != thread->shared_version;
	return thread->context == thread->accept_context && thread->version != thread->accept_version;
}

static struct found by_request(const struct rqs_py_thread *thread, uint64_t value)
{
	int fd = (int)(value & DESCRIPTOR_MASK);
	uint64_t sequence = value >> DESCRIPTOR_BITS;
	struct rqs_py_connection *connection = rqs_py_connection_of(fd);
	struct rqs_py_request *request = rqs_py_open_on(fd);

	if (connection && sequence > connection->since && rqs_py_owns(connection, thread->context)) {
		rqs_py_task_goes_on(connection, thread->context, thread->loops);
		if (request)
			return whole(request);
	}
	if (!request || request->sequence != sequence)
		return (struct found){ .request = &ended, .id = 1, .fd = fd };
	if (thread->context != thread->shared_context)
		request->followed = true;
	return whole(request);
}

/*
 * What has a connection's name was there before its first request, and works
 * for that. It is adopted meanwhile: who still has it later has missed that,
 * or copied it from one that had not been adopted yet.
 */
static struct found by_connection(struct rqs_py_thread *thread, uint64_t value)
{
	int fd = (int)(value & DESCRIPTOR_MASK);
	const struct rqs_py_connection *connection = rqs_py_connection_of(fd);
	struct rqs_py_request *request = rqs_py_open_on(fd);

	/* Where connections are accepted the value is left behind by the last of them. */
	if (!connection || connection->serial != (uint32_t)(value >> DESCRIPTOR_BITS) ||
	    (thread->accept_context && thread->accept_context == thread->context))
		return nobodys;
	if (!request || request->sequence != connection->first)
		return (struct found){ .request = NULL, .fd = fd };
	if (thread->is_main && !thread->naming)
		thread->naming = !rqs_py.Py_AddPendingCall(adopt_pending, (void *)(uintptr_t)fd);
	return whole(request);
}

static struct found by_thread(uint64_t value)
{
	const struct thread_slot *slot = &thread_slots[value % THREADS];
	bool is_current = is_open(slot->request) && slot->request->live == slot->id;

	/* Between two requests the thread is the server's own. */
	struct rqs_py_request *request = is_current ? slot->request : NULL;
	return (struct found){ .request = request, .id = (uint32_t)slot->id, .fd = -1 };
}

/* Where the variable was made; objects of one interpreter are none of another's. */
static void *interpreter;

bool rqs_py_is_elsewhere(void)
{
	return rqs_py.interpreter && rqs_py.interpreter() != interpreter;
}

/* The variable's number in the current context; IS_NOTHING: it isn't set. */
static uint64_t number_now(void)
{
	uint64_t number = IS_NOTHING;
	void *object = NULL;

	if (!rqs_py.PyContextVar_Get(variable, NULL, &object) && object) {
		number = (uint64_t)rqs_py.PyLong_AsSsize_t(object);
		rqs_py.Py_DecRef(object);
	}
	return number;
}

static struct found by_variable(struct rqs_py_thread *thread)
{
	uint64_t number = number_now();
	uint64_t value = number >> KIND_BITS;

	if (number != IS_NOTHING && is_left(thread)) {
		/* What it starts isn't to be taken for another's. */
		if (thread->is_main && !thread->naming)
			thread->naming = !rqs_py.Py_AddPendingCall(unname_pending, NULL);
		return nobodys;
	}
	switch (number & KIND_MASK) {
	case IS_REQUEST:
		return by_request(thread, value);
	case IS_CONNECTION:
		return by_connection(thread, value);
	case IS_THREAD:
		return by_thread(value);
	default:
		return nobodys;
	}
}

void rqs_py_resolve(struct rqs_py_thread *thread, void *state)
{
	bool inside = thread->inside;

	rqs_py_enter(thread);
	thread->state = thread->own = state;
	thread->context = rqs_py_context_offset < 0 ? NULL : *(void **)((char *)state + rqs_py_context_offset);
	bool elsewhere = rqs_py_is_elsewhere();
	struct found found = nobodys;
	if (!elsewhere)
		found = by_variable(thread);
	if (rqs_unlikely(elsewhere))
		rqs_py_memory_shared();
	rqs_py_leave(thread, inside);
	if (rqs_unlikely(elsewhere)) {
		rqs_py_switch(thread, NULL, 0);
		thread->owner_fd = -1;
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

void rqs_py_put(uint64_t number)
{
	void *value = rqs_py.PyLong_FromUnsignedLongLong(number);
	void *token = value ? rqs_py.PyContextVar_Set(variable, value) : NULL;

	if (token)
		rqs_py.Py_DecRef(token);
	else
		rqs_py.PyErr_Clear();
	if (value)
		rqs_py.Py_DecRef(value);
}

static uint64_t version_now(void)
{
	return *(uint64_t *)(void *)((char *)rqs_py.thread_state() + rqs_py_version_offset);
}

/*
 * Some loops have one context for all their connections (uvloop). It is known
 * by the request of another live connection being named where one is named now.
 */
static bool names_another(int fd)
{
	uint64_t before = number_now();
	int other = (int)(before >> KIND_BITS & DESCRIPTOR_MASK);
	const struct rqs_py_connection *connection = rqs_py_connection_of(other);

	return (before & KIND_MASK) == IS_REQUEST && other != fd && connection && connection->serial &&
	       before >> KIND_BITS >> DESCRIPTOR_BITS > connection->since;
}

/* Where the request is read is the connection's own, unless it is everybody's. */
static void set_request(struct rqs_py_thread *thread, int fd, uint64_t number)
{
	struct rqs_py_connection *connection = rqs_py_connection_of(fd);
	struct rqs_py_request *request = rqs_py_open_on(fd);
	void *context = context_now();

	if (!request || request->sequence != number >> KIND_BITS >> DESCRIPTOR_BITS)
		return; /* it has ended already */
	if (context == thread->accept_context || names_another(fd))
		thread->shared_context = context;
	request->in_shared = context && context == thread->shared_context;
	if (request->in_shared) {
		thread->shared_version = version_now();
		rqs_py_put(number);
		return;
	}
	/* One that was read behind another began when that was answered, wherever that was. */
	if (!request->behind) {
		rqs_py_put(number);
		context = context_now(); /* it may be new: greenlets begin without */
		rqs_py_adopt(connection, context);
		connection->reads = context;
	} else if (rqs_py_owns(connection, context)) {
		rqs_py_put(number);
	}
	rqs_py_name_own(connection, number, context);
}

static void set_connection(struct rqs_py_thread *thread, int fd, uint64_t number)
{
	rqs_py_disown(rqs_py_connection_of(fd));
	if (context_now() && context_now() == thread->shared_context) {
		rqs_py_put(IS_NOTHING);
		return;
	}
	rqs_py_put(number);
	thread->accept_context = context_now();
	thread->accept_version = version_now();
}

static void set(uint64_t number)
{
	struct rqs_py_thread *thread = &rqs_py_self;
	bool inside = thread->inside;
	int fd = (int)(number >> KIND_BITS & DESCRIPTOR_MASK);

	thread->naming = false;
	if (rqs_py_is_elsewhere())
		return;
	rqs_py_enter(thread);
	if ((number & KIND_MASK) == IS_REQUEST)
		set_request(thread, fd, number);
	else if ((number & KIND_MASK) == IS_CONNECTION)
		set_connection(thread, fd, number);
	else
		rqs_py_put(number);
	rqs_py_look_again(thread);
	rqs_py_leave(thread, inside);
}

static int set_pending(void *number)
{
	rqs_py_self.naming = false;
	if (rqs_py_on)
		set((uint64_t)number);
	return 0;
}

static uint64_t number_of(const struct rqs_py_request *request)
{
	return (request->sequence << DESCRIPTOR_BITS | ((uint32_t)request->fd & DESCRIPTOR_MASK)) << KIND_BITS |
	       IS_REQUEST;
}

/* The current context has the connection's name, or an ended request's of it, and serves its requests. */
static void adopt(struct rqs_py_thread *thread, int fd)
{
	struct rqs_py_connection *connection = rqs_py_connection_of(fd);
	const struct rqs_py_request *request = rqs_py_open_on(fd);
	uint64_t number = number_now();
	void *context = context_now();

	if ((number & KIND_MASK) > IS_CONNECTION || (int)(number >> KIND_BITS & DESCRIPTOR_MASK) != fd || !context ||
	    context == thread->shared_context || context == thread->accept_context)
		return;
	if ((number & KIND_MASK) == IS_CONNECTION && (!request || request->sequence != connection->first))
		return;
	rqs_py_adopt(connection, context);
	if (request && rqs_py_owns(connection, context))
		rqs_py_put(number_of(request));
}

static int adopt_pending(void *fd)
{
	struct rqs_py_thread *thread = &rqs_py_self;
	bool inside = thread->inside;

	thread->naming = false;
	if (!rqs_py_on || rqs_py_is_elsewhere())
		return 0;
	rqs_py_enter(thread);
	adopt(thread, (int)(uintptr_t)fd);
	rqs_py_look_again(thread);
	rqs_py_leave(thread, inside);
	return 0;
}

static int unname_pending(void *nothing)
{
	struct rqs_py_thread *thread = &rqs_py_self;
	bool inside = thread->inside;

	(void)nothing;
	thread->naming = false;
	if (!rqs_py_on || rqs_py_is_elsewhere())
		return 0;
	rqs_py_enter(thread);
	thread->context = context_now();
	thread->version = version_now();
	if (is_left(thread))
		rqs_py_put(IS_NOTHING);
	rqs_py_look_again(thread);
	rqs_py_leave(thread, inside);
	return 0;
}

/* The calling thread has no GIL, or has it: both are right. */
static void set_now(uint64_t number)
{
	bool inside = rqs_py_self.inside;

	rqs_py_enter(&rqs_py_self);
	int gil = rqs_py.PyGILState_Ensure();
	set(number);
	rqs_py.PyGILState_Release(gil);
	rqs_py_leave(&rqs_py_self, inside);
}

static void set_soon(struct rqs_py_thread *thread, uint64_t number)
{
	if (thread->is_main)
		thread->naming = !rqs_py.Py_AddPendingCall(set_pending, (void *)number);
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
	struct rqs_py_connection *connection = rqs_py_connection_of(request->fd);

	request->sequence = rqs_add(&sequence_numbers, 1) + 1;
	if (connection) {
		connection->request = request;
		connection->sequence = request->sequence;
		if (!connection->first)
			connection->first = request->sequence;
		if (!connection->serial)
			connection->serial = 1; /* it came otherwise than by accept */
		connection->pipelined |= request->behind && thread->is_loop;
		request->handed_over |= connection->pipelined;
		rqs_py_task_begins(connection, request, thread->loops);
	}
	rqs_py_look_again(thread);
	if (!thread->is_loop)
		name_thread(thread);
	else
		set_soon(thread, number_of(request));
}

static void renew(struct rqs_py_connection *connection)
{
	connection->serial++;
	connection->since = rqs_load_relaxed(&sequence_numbers);
	connection->first = 0;
	connection->request = NULL;
	connection->serves = NULL;
	connection->pipelined = false;
	connection->route = 0;
}

void rqs_py_accepted(int fd)
{
	struct rqs_py_thread *thread = &rqs_py_self;
	struct rqs_py_connection *connection = rqs_py_connection_of(fd);

	rqs_py_allocators_check();
	if (!connection)
		return;
	renew(connection);
	rqs_py_look_again(thread);
	if (thread->is_loop)
		set_soon(thread, ((uint64_t)connection->serial << DESCRIPTOR_BITS | (uint32_t)fd) << KIND_BITS | IS_CONNECTION);
}

void rqs_py_closing(int fd)
{
	struct rqs_py_connection *connection = rqs_py_connection_of(fd);

	if (connection && connection->serial)
		renew(connection);
}

/* Of the calling thread, with the lock or without. */
static void *own_context(void)
{
	void *state = rqs_py.PyGILState_GetThisThreadState();

	return state ? *(void **)((char *)state + rqs_py_context_offset) : NULL;
}

/*
 * Not an event loop's, and it hasn't begun there: what has been done for it is
 * charged to the one that this thread has begun last, or to nobody. So it is
 * with pools of threads where a request came behind another.
 */
static void answers_anothers(const struct rqs_py_thread *thread, struct rqs_py_request *request)
{
	if (thread->served == request && rqs_py_is_still(request, thread->served_id))
		return;
	request->handed_over = true;
	if (rqs_py_is_still(thread->served, thread->served_id))
		thread->served->handed_over = true;
}

/*
 * In the name of a request that has ended, what was charged to that is missing
 * here: no number rather than a wrong one. It is the connection's own task,
 * that has been there since an earlier request.
 */
void rqs_py_answers(struct rqs_py_thread *thread, struct rqs_py_request *request)
{
	struct rqs_py_connection *connection = rqs_py_connection_of(request->fd);
	bool is_named = thread->owner == &ended || (!thread->owner && thread->owner_fd == request->fd);

	thread->reading = false;
	if (!thread->is_loop)
		answers_anothers(thread, request);
	/* From a context that hasn't been looked into yet nothing is known. */
	if (!thread->is_loop || !connection || own_context() != thread->context)
		return;
	if (thread->owner == request && rqs_py_owns(connection, thread->context))
		connection->serves = thread->context;
	if (!is_named)
		return;
	request->handed_over = true;
	if (thread->owner_fd == request->fd && !request->behind && thread->is_main && !thread->naming)
		thread->naming = !rqs_py.Py_AddPendingCall(adopt_pending, (void *)(uintptr_t)request->fd);
}

void rqs_py_ends(const struct rqs_py_thread *thread, const struct rqs_py_request *request, const char *route,
		 uint32_t length)
{
	struct rqs_py_connection *connection = rqs_py_connection_of(request->fd);

	if (thread->is_loop && connection && connection->request == request)
		rqs_py_task_answered(connection, own_context(), route, length, thread->loops);
}

/* ---- installing ---- */

static bool map_tables(void)
{
	requests = rqs_reserve_sparse(REQUESTS * sizeof(*requests));
	thread_slots = rqs_reserve_sparse(THREADS * sizeof(*thread_slots));
	return requests && thread_slots && rqs_py_connections_map();
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
	rqs_py_put(IS_NOTHING);
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
	if (variable) /* installed before, in this very interpreter */
		return rqs_py_variables_offset >= 0;
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

/*
 * Python's ring of pending calls keeps those of ours that have been made, up
 * to 3.11, and one that is still to come belongs to the main thread's next
 * moment. In their place comes what Python does in such a moment anyway. The
 * ring is in its runtime's state, but for 3.9 and 3.10: an interpreter's is on
 * the heap there, and what is left in it is never called, or does nothing.
 */
void rqs_py_context_forget(void)
{
	static int (*const ours[])(void *) = { set_pending, adopt_pending, unname_pending };
	size_t size;
	uintptr_t *runtime = rqs_objects_any("_PyRuntime", &size);

	for (size_t i = 0; runtime && i < size / sizeof(*runtime); i++)
		for (size_t n = 0; n < sizeof(ours) / sizeof(ours[0]); n++)
			if (rqs_load_relaxed(&runtime[i]) == (uintptr_t)ours[n])
				rqs_swap(&runtime[i], (uintptr_t)ours[n], (uintptr_t)rqs_py.PyErr_CheckSignals);
}

void rqs_py_context_uninstall(uint32_t connections)
{
	rqs_py_context_forget();
	for (uint32_t i = 0; i < rqs_agent.slot_chunks; i++)
		for (uint32_t n = 0; n < 64 && rqs_agent.slot_chunk[i]; n++)
			rqs_store_relaxed(&requests[(rqs_agent.slot_chunk[i] - 1) * 64 + n].live, 0);
	for (uint32_t fd = 0; fd < connections; fd++) {
		struct rqs_py_connection *connection = rqs_py_connection_of((int)fd);

		if (!connection || !connection->serial)
			continue;
		rqs_py_disown(connection);
		renew(connection);
	}
}
