/*
 * py_connection.c - what belongs to a connection as a whole: the contexts in
 * which its bytes are read, and of the task that some servers have for each
 * connection (asyncio's streams, aiohttp, hypercorn, Tornado). They work for
 * one request after the other, so each request is named in all of them; what
 * they start meanwhile copies that name and keeps it.
 *
 * The contexts aren't kept alive: references are weak. All that takes or
 * follows one is called with the GIL, between two bytecodes of Python.
 */
#include "python/py.h"
#include "python/py_api.h"

#include "os/reserve.h"

static struct rqs_py_connection *connections;

bool rqs_py_connections_map(void)
{
	connections = rqs_reserve_sparse(RQS_DESCRIPTORS * sizeof(*connections));
	return connections != NULL;
}

struct rqs_py_connection *rqs_py_connection_of(int fd)
{
	return fd >= 0 && (uint32_t)fd < RQS_DESCRIPTORS ? &connections[fd] : NULL;
}

static struct rqs_py_request *open_on(const struct rqs_py_connection *connection)
{
	struct rqs_py_request *request = connection->request;

	/* Its place may have been taken by another connection's. */
	return request && rqs_load_relaxed(&request->live) && request->sequence == connection->sequence ? request : NULL;
}

struct rqs_py_request *rqs_py_open_on(int fd)
{
	const struct rqs_py_connection *connection = rqs_py_connection_of(fd);

	return connection ? open_on(connection) : NULL;
}

/* ---- contexts of its own ---- */

static bool is_alive(const struct rqs_py_own *own)
{
	return own->reference && rqs_py.PyWeakref_GetObject(own->reference) == own->context;
}

bool rqs_py_owns(const struct rqs_py_connection *connection, const void *context)
{
	for (int i = 0; context && i < RQS_PY_OWN; i++)
		if (connection->own[i].context == context && is_alive(&connection->own[i]))
			return true;
	return false;
}

static void drop(struct rqs_py_own *own)
{
	void *reference = own->reference;

	own->reference = own->context = NULL;
	if (reference)
		rqs_py.Py_DecRef(reference);
}

void rqs_py_adopt(struct rqs_py_connection *connection, void *context)
{
	if (!context || rqs_py_owns(connection, context))
		return;
	for (int i = 0; i < RQS_PY_OWN; i++) {
		struct rqs_py_own *own = &connection->own[i];

		if (is_alive(own))
			continue;
		drop(own);
		own->reference = rqs_py.PyWeakref_NewRef(context, NULL);
		if (!own->reference)
			rqs_py.PyErr_Clear();
		own->context = own->reference ? context : NULL;
		return;
	}
}

void rqs_py_disown(struct rqs_py_connection *connection)
{
	for (int i = 0; i < RQS_PY_OWN; i++)
		drop(&connection->own[i]);
}

void rqs_py_name_own(const struct rqs_py_connection *connection, uint64_t number, const void *current)
{
	for (int i = 0; i < RQS_PY_OWN; i++) {
		const struct rqs_py_own *own = &connection->own[i];

		if (!own->context || own->context == current || !is_alive(own))
			continue;
		if (rqs_py.PyContext_Enter(own->context)) {
			rqs_py.PyErr_Clear(); /* it is entered, further down on the stack */
			continue;
		}
		rqs_py_put(number);
		rqs_py.PyContext_Exit(own->context);
	}
}

/* ---- its task's work after an answer ---- */

/*
 * Where a connection's own task answers, it may go on after the answer, and
 * then nothing tells where that ends and the next request begins, unless it
 * reads by itself. It is seen
 * by the task being awake with no request open, or not being woken by the one
 * that came. Such routes are remembered: what comes behind them on
 * their connection has no numbers.
 */
#define ROUTES 256u
static uint32_t lasting[ROUTES];

static bool lasts(uint32_t route)
{
	return route && rqs_load_relaxed(&lasting[route % ROUTES]) == route;
}

void rqs_py_task_goes_on(struct rqs_py_connection *connection, const void *context, uint32_t loops)
{
	struct rqs_py_request *request = open_on(connection);
	bool is_open = request != NULL;

	if (connection->serves != context || connection->reads == context || connection->woken || !connection->route)
		return;
	/* That it waited for its next request shows by its going on in the turn of the loop after the read. */
	if (is_open && loops - connection->loops > 1)
		request->handed_over = true;
	if (loops - connection->loops > is_open && !connection->sends)
		rqs_store_relaxed(&lasting[connection->route % ROUTES], connection->route);
	if (loops != connection->loops)
		connection->sends = false;
	connection->woken = is_open;
	connection->loops = loops;
}

void rqs_py_task_begins(struct rqs_py_connection *connection, struct rqs_py_request *request, uint32_t loops)
{
	connection->loops = loops;
	connection->woken = false;
	if (connection->serves && lasts(connection->route))
		request->handed_over = true;
}

void rqs_py_task_answered(struct rqs_py_connection *connection, const void *context, const char *route, uint32_t length,
			  uint32_t loops)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	connection->loops = loops;
	connection->woken = false;
	connection->sends = context != connection->serves;
	for (uint32_t i = 0; connection->serves && i < length; i++)
		hash = (hash ^ (uint8_t)route[i]) * 16777619u;
	connection->route = hash;
}
