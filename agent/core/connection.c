/*
 * connection.c - see connection.h.
 *
 * A connection's lock is held for the time of one recognition, never across a
 * call of the host's. Its holder may be preempted, so that waiting is bounded;
 * a forked child may find it held by a thread that doesn't exist in it, so
 * that the lock names the epoch of its holder's process.
 */
#include "core/connection.h"

#include "core/agent.h"
#include "core/request.h"
#include "core/sample.h"
#include "proto/protocol.h"

/* The lock is held for less than 1 us, unless its holder waits for its turn on the processor. */
#define LOCK_SPINS 1000u
#define LOCK_YIELDS 19000u

#define ADDRESS(symbol) &rqs_protocol_##symbol,
static const struct rqs_protocol *const protocols[] = { RQS_PROTOCOL_LIST(ADDRESS) };
#undef ADDRESS

static struct rqs_conn *entry(const struct rqs_agent *agent, int fd)
{
	if (fd < 0)
		return NULL;
	if ((uint32_t)fd >= agent->connection_limit)
		return NULL;
	return &agent->connections[fd];
}

struct rqs_conn *rqs_conn_of(const struct rqs_agent *agent, int fd)
{
	struct rqs_conn *conn = entry(agent, fd);

	if (conn && conn->kind == RQS_CONN_ALIAS)
		conn = entry(agent, (int)conn->target);
	return conn;
}

/* Searches of the table end where its use does. */
static void note_use(struct rqs_agent *agent, const struct rqs_conn *conn)
{
	uint32_t used = (uint32_t)(conn - agent->connections) + 1;
	uint32_t now = rqs_load_relaxed(&agent->connections_used);

	while (used > now && !__atomic_compare_exchange_n(&agent->connections_used, &now, used, true, __ATOMIC_RELAXED,
							  __ATOMIC_RELAXED))
		;
}

static void reset(struct rqs_conn *conn, enum rqs_conn_kind kind)
{
	conn->served = false;
	conn->input_ended = false;
	conn->stamped = false;
	conn->unstamped = false;
	conn->awaits_stamp = false;
	conn->preceded = false;
	conn->aliases = 0;
	conn->first = RQS_NO_SLOT;
	conn->last = RQS_NO_SLOT;
	conn->reading = RQS_NO_SLOT;
	conn->blind = 0;
	conn->blind_heads = 0;
	conn->protocol = protocols[0];
	conn->protocol->start(conn);
	rqs_store_relaxed(&conn->kind, (uint8_t)kind);
}

/* What it is taken for changes; the descriptor itself stays. */
static void become(struct rqs_conn *conn, enum rqs_conn_kind kind)
{
	bool stamped = conn->stamped;
	uint32_t aliases = conn->aliases;

	reset(conn, kind);
	conn->stamped = stamped;
	conn->aliases = aliases;
}

/*
 * The state was copied from the parent by fork. A request open there stays
 * the parent's; an idle keep-alive connection can go on here.
 */
static void inherit(const struct rqs_agent *agent, struct rqs_conn *conn, bool torn)
{
	conn->epoch = agent->epoch;
	if (conn->kind == RQS_CONN_RESYNC)
		rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_OTHER);
	if (conn->kind != RQS_CONN_SERVED)
		return;
	if (torn || rqs_request_any(conn) || !conn->protocol->is_idle(conn)) {
		bool served = conn->served;

		become(conn, RQS_CONN_OTHER);
		conn->served = served;
	}
}

static bool lock(const struct rqs_call *call, struct rqs_conn *conn)
{
	const struct rqs_agent *agent = call->agent;

	for (uint32_t i = 0; i < LOCK_SPINS + LOCK_YIELDS; i++) {
		uint64_t holder = rqs_load_relaxed(&conn->lock);

		if (holder != agent->epoch && rqs_swap(&conn->lock, holder, agent->epoch)) {
			if (conn->epoch != agent->epoch)
				inherit(agent, conn, holder != 0);
			return true;
		}
		if (i < LOCK_SPINS || agent->frozen)
			rqs_pause();
		else
			agent->env->yield();
	}
	rqs_count(call->agent, RQS_EVENT_LOCK_BUSY);
	rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_OTHER);
	return false;
}

static void unlock(struct rqs_conn *conn)
{
	rqs_store(&conn->lock, 0);
}

/* ---- how many connections there are ---- */

static void opened(struct rqs_agent *agent, struct rqs_conn *conn)
{
	struct rqs_process *process = agent->process;
	int64_t now = rqs_add(&agent->open_connections, 1) + 1;
	int64_t peak = rqs_load_relaxed(&process->connections_peak);

	note_use(agent, conn);
	conn->served = true;
	rqs_add(&process->connections, 1);
	while (now > peak && !__atomic_compare_exchange_n(&process->connections_peak, &peak, now, true,
							  __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void closed(struct rqs_agent *agent, struct rqs_conn *conn)
{
	if (conn->kind == RQS_CONN_LISTENER) {
		rqs_add(&agent->listeners, -1);
		rqs_add(&agent->process->listeners, -1);
	}
	if (conn->served) {
		rqs_add(&agent->open_connections, -1);
		rqs_add(&agent->process->connections, -1);
		conn->served = false;
	}
}

/* ---- requests that the connection's end ends ---- */

static enum rqs_ending ending_at_close(const struct rqs_call *call, const struct rqs_conn *conn)
{
	if (conn->first == RQS_NO_SLOT)
		return RQS_ENDING_ABORTED;
	const struct rqs_request *request = rqs_request_at(call->agent, conn->first);

	/* Unanswered here, but a child forked meanwhile may answer it: not ours to judge. */
	if (!request->first_out && request->forks != rqs_load_relaxed(&call->agent->forks))
		return RQS_ENDING_GIVEN_UP;
	/* Without a start line it can't be told from other protocols. */
	if (!request->route_length && !request->first_out)
		return RQS_ENDING_GIVEN_UP;
	return RQS_ENDING_ABORTED;
}

static void end_requests(const struct rqs_call *call, struct rqs_conn *conn)
{
	conn->protocol->output_ended(call, conn);
	while (rqs_request_any(conn))
		rqs_request_end(call, conn, ending_at_close(call, conn));
}

void rqs_conn_lose_interest(const struct rqs_call *call, struct rqs_conn *conn)
{
	while (rqs_request_any(conn))
		rqs_request_end(call, conn, RQS_ENDING_GIVEN_UP);
	rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_OTHER);
}

/* ---- descriptors of which nothing is known yet ---- */

static bool may_be_method(const uint8_t *p, size_t n)
{
	/* A method's letters, then a space; or as much of that as there is. */
	for (size_t i = 0; i < n && i < 8; i++) {
		if (p[i] == ' ')
			return i >= 3;
		if (p[i] < 'A' || p[i] > 'Z')
			return false;
	}
	return n > 0;
}

static bool comes_from_elsewhere(const struct rqs_conn *conn)
{
	return conn->kind == RQS_CONN_UNKNOWN || conn->kind == RQS_CONN_PASSED;
}

/* A descriptor that came from elsewhere (another process, before exec) reads what looks like a request. */
static bool adopt(const struct rqs_call *call, struct rqs_conn *conn, int fd, const void *p, size_t n)
{
	if (!may_be_method(p, n) || call->agent->frozen || !call->agent->env->is_stream_socket(fd)) {
		rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_OTHER);
		return false;
	}
	become(conn, RQS_CONN_SERVED);
	opened(call->agent, conn);
	return true;
}

/* A whole request line of HTTP/1: nothing of a body's middle looks like that. */
static bool is_request_line(const uint8_t *p, size_t n)
{
	static const char version[] = " HTTP/1.";
	const size_t length = sizeof(version) - 1;
	const uint8_t *end = rqs_find(p, n, '\n');

	if (end == p + n || !may_be_method(p, n))
		return false;
	if (end > p && end[-1] == '\r')
		end--;
	if ((size_t)(end - p) <= length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (end[-1 - (ptrdiff_t)length + (ptrdiff_t)i] != (uint8_t)version[i])
			return false;
	return true;
}

/* 100 Continue and its like, written at once: the response is still to come. */
static bool is_interim(const uint8_t *p, size_t n)
{
	return n > 12 && p[0] == 'H' && p[4] == '/' && p[8] == ' ' && p[9] == '1' && !(p[10] == '0' && p[11] == '1');
}

/* The head of a TLS record (RFC 8446, 5.1). */
static bool is_tls(const uint8_t *p, size_t n)
{
	return n >= 3 && p[0] >= 20 && p[0] <= 23 && p[1] == 3 && p[2] <= 4;
}

/* The first time that an attached agent hears of fd. True: a connection that was being served then. */
static bool meet(const struct rqs_call *call, struct rqs_conn *conn, int fd, const uint8_t *p, size_t n)
{
	struct rqs_agent *agent = call->agent;

	if (!agent->attached || agent->frozen || !comes_from_elsewhere(conn))
		return false;
	enum rqs_origin origin = agent->env->origin(fd);
	if (origin == RQS_ORIGIN_SERVED && is_tls(p, n)) {
		rqs_count(agent, RQS_EVENT_UNSUPPORTED);
		origin = RQS_ORIGIN_OTHER;
	}
	if (origin == RQS_ORIGIN_OTHER)
		rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_OTHER);
	if (origin != RQS_ORIGIN_SERVED)
		return false;
	become(conn, RQS_CONN_RESYNC);
	opened(agent, conn);
	return true;
}

/* What is read from a connection that isn't followed yet: does a request begin with it that can be? */
static bool begins(const struct rqs_call *call, struct rqs_conn *conn, int fd, const void *p, size_t n)
{
	bool begin = meet(call, conn, fd, p, n) ? is_request_line(p, n) : conn->preceded && may_be_method(p, n);

	if (comes_from_elsewhere(conn))
		return adopt(call, conn, fd, p, n);
	if (conn->kind != RQS_CONN_RESYNC || !begin)
		return false;
	rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_SERVED);
	return true;
}

/* What is written to a connection that isn't followed: maybe a response to a request from before. */
static void answers(const struct rqs_call *call, struct rqs_conn *conn, int fd, const void *p, size_t n)
{
	meet(call, conn, fd, p, n);
	if (comes_from_elsewhere(conn))
		rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_OTHER);
	if (conn->kind != RQS_CONN_RESYNC || conn->preceded || is_interim(p, n))
		return;
	conn->preceded = true;
	rqs_add(&call->agent->process->preceding, 1);
}

/* ---- what the hooks tell ---- */

void rqs_conn_input(const struct rqs_call *call, int fd, const void *p, size_t n)
{
	struct rqs_conn *conn = rqs_conn_of(call->agent, fd);

	if (!conn || !lock(call, conn))
		return;
	if (conn->kind == RQS_CONN_SERVED || begins(call, conn, fd, p, n)) {
		if (!conn->input_ended)
			conn->protocol->input(call, conn, p, n);
	}
	unlock(conn);
}

void rqs_conn_output(const struct rqs_call *call, int fd, const void *p, size_t n)
{
	struct rqs_conn *conn = rqs_conn_of(call->agent, fd);

	if (!conn || !lock(call, conn))
		return;
	if (conn->kind == RQS_CONN_SERVED)
		conn->protocol->output(call, conn, p, n);
	else
		answers(call, conn, fd, p, n);
	unlock(conn);
}

void rqs_conn_output_unseen(const struct rqs_call *call, int fd, uint64_t n)
{
	struct rqs_conn *conn = rqs_conn_of(call->agent, fd);

	if (!conn || !lock(call, conn))
		return;
	if (conn->kind == RQS_CONN_SERVED)
		conn->protocol->output_unseen(call, conn, n);
	else if (call->agent->attached)
		answers(call, conn, fd, NULL, 0);
	unlock(conn);
}

void rqs_conn_input_unseen(const struct rqs_call *call, int fd, uint64_t n)
{
	struct rqs_conn *conn = rqs_conn_of(call->agent, fd);

	if (!conn || !lock(call, conn))
		return;
	if (conn->kind != RQS_CONN_SERVED)
		meet(call, conn, fd, NULL, 0);
	else if (!conn->input_ended)
		conn->protocol->input_unseen(call, conn, n);
	unlock(conn);
}

void rqs_conn_unseen(const struct rqs_call *call, int fd)
{
	struct rqs_conn *conn = rqs_conn_of(call->agent, fd);

	if (!conn || !lock(call, conn))
		return;
	if (conn->kind == RQS_CONN_SERVED || conn->kind == RQS_CONN_RESYNC)
		rqs_conn_lose_interest(call, conn);
	unlock(conn);
}

void rqs_conn_listening(const struct rqs_call *call, int fd)
{
	struct rqs_conn *conn = entry(call->agent, fd);

	if (!conn || !lock(call, conn))
		return;
	if (conn->kind != RQS_CONN_LISTENER) {
		closed(call->agent, conn);
		reset(conn, RQS_CONN_LISTENER);
		note_use(call->agent, conn);
		rqs_add(&call->agent->listeners, 1);
		rqs_add(&call->agent->process->listeners, 1);
	}
	unlock(conn);
}

void rqs_conn_accepted(const struct rqs_call *call, int fd)
{
	struct rqs_conn *conn = entry(call->agent, fd);

	if (!conn) {
		rqs_count(call->agent, RQS_EVENT_FD_BEYOND);
		return;
	}
	rqs_conn_closing(call, fd); /* a close that wasn't seen */
	if (!lock(call, conn))
		return;
	reset(conn, RQS_CONN_SERVED);
	opened(call->agent, conn);
	rqs_add(&call->agent->process->accepted, 1);
	unlock(conn);
}

void rqs_conn_passed(const struct rqs_call *call, int fd)
{
	struct rqs_conn *conn = entry(call->agent, fd);

	if (!conn || !lock(call, conn))
		return;
	if (conn->kind == RQS_CONN_UNKNOWN) {
		reset(conn, RQS_CONN_PASSED);
		conn->stamped = true;
		note_use(call->agent, conn);
	}
	unlock(conn);
}

void rqs_conn_not_served(const struct rqs_call *call, int fd)
{
	struct rqs_conn *conn = entry(call->agent, fd);

	if (!conn)
		return;
	rqs_conn_closing(call, fd);
	rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_OTHER);
}

void rqs_conn_forget(const struct rqs_call *call, int fd)
{
	rqs_conn_closing(call, fd);
}

/* The entry's own descriptor closes, but others of the connection stay: one of them takes the state over. */
static void hand_over(const struct rqs_call *call, struct rqs_conn *conn, int fd)
{
	const struct rqs_agent *agent = call->agent;
	struct rqs_conn *heir = NULL;
	uint32_t left = conn->aliases;

	for (uint32_t i = 0; i < agent->connections_used && left; i++) {
		struct rqs_conn *other = &agent->connections[i];

		if (other->kind != RQS_CONN_ALIAS || other->target != (uint32_t)fd)
			continue;
		left--;
		if (heir) {
			other->target = (uint32_t)(heir - agent->connections);
			heir->aliases++;
			continue;
		}
		heir = other;
		rqs_copy(heir, conn, sizeof(*heir));
		heir->lock = 0;
		heir->aliases = 0;
	}
}

void rqs_conn_closing(const struct rqs_call *call, int fd)
{
	struct rqs_conn *conn = entry(call->agent, fd);

	if (!conn || conn->kind == RQS_CONN_UNKNOWN)
		return;
	if (conn->kind == RQS_CONN_ALIAS) {
		struct rqs_conn *target = entry(call->agent, (int)conn->target);

		rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_UNKNOWN);
		if (target && lock(call, target)) {
			if (target->aliases)
				target->aliases--;
			unlock(target);
		}
		return;
	}
	if (!lock(call, conn)) {
		closed(call->agent, conn);
		return;
	}
	if (conn->aliases) {
		hand_over(call, conn, fd);
	} else {
		if (conn->kind == RQS_CONN_SERVED)
			end_requests(call, conn);
		else if (conn->served)
			rqs_conn_lose_interest(call, conn); /* open when its lock wasn't had */
		closed(call->agent, conn);
	}
	conn->served = false;
	conn->stamped = false;
	conn->aliases = 0;
	rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_UNKNOWN);
	unlock(conn);
}

void rqs_conn_output_ended(const struct rqs_call *call, int fd)
{
	struct rqs_conn *conn = rqs_conn_of(call->agent, fd);

	if (!conn || conn->kind != RQS_CONN_SERVED || !lock(call, conn))
		return;
	if (conn->kind == RQS_CONN_SERVED)
		conn->protocol->output_ended(call, conn);
	unlock(conn);
}

void rqs_conn_duplicated(const struct rqs_call *call, int from, int to)
{
	struct rqs_conn *source = entry(call->agent, from);
	struct rqs_conn *copy = entry(call->agent, to);

	if (!source || !copy || source->kind == RQS_CONN_UNKNOWN)
		return;
	if (source->kind == RQS_CONN_ALIAS) {
		from = (int)source->target;
		source = entry(call->agent, from);
	}
	if (!source || !lock(call, source))
		return;
	if (source->kind == RQS_CONN_OTHER && !source->served) {
		rqs_store_relaxed(&copy->kind, (uint8_t)RQS_CONN_OTHER);
	} else {
		copy->target = (uint32_t)from;
		copy->epoch = call->agent->epoch;
		source->aliases++;
		note_use(call->agent, copy);
		rqs_store(&copy->kind, (uint8_t)RQS_CONN_ALIAS);
	}
	unlock(source);
}

void rqs_agent_exit(struct rqs_agent *agent, struct rqs_worker *worker)
{
	struct rqs_call call = { .agent = agent, .worker = worker, .ticks = rqs_now(agent) };
	int64_t left = rqs_load_relaxed(&agent->open_connections);

	for (uint32_t fd = 0; fd < agent->connections_used && left > 0; fd++) {
		struct rqs_conn *conn = &agent->connections[fd];

		if (!conn->served)
			continue;
		left--;
		if (conn->epoch == agent->epoch)
			rqs_conn_output_ended(&call, (int)fd);
	}
	rqs_sample_tell_untold(agent, worker);
}
