/*
 * test_adopt.c - what is open at an attach, with real sockets: listeners are
 * told of, and whatever they have accepted is known as theirs.
 */
#include "unit.h"

#include "collect/mapping.h"
#include "os/adopt.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct rqs_region region;
static struct rqs_agent agent;
static struct rqs_alive alive;

static uint32_t one(void)
{
	return 1;
}

static const struct rqs_env env = {
	.pid = one,
	.tid = one,
	.parent_pid = one,
	.origin = rqs_adopt_origin,
};

static int start(void **state)
{
	(void)state;
	memset(&agent, 0, sizeof(agent));
	if (rqs_region_create(&region))
		return -1;
	agent.env = &env;
	agent.alive = &alive;
	agent.attached = true;
	agent.connection_limit = 256;
	agent.connections = calloc(agent.connection_limit, sizeof(struct rqs_conn));
	return rqs_agent_start(&agent, region.header, region.size) ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	free(agent.connections);
	rqs_region_destroy(&region);
	return 0;
}

/* A listener, a client of it, and what it accepted. */
struct pair {
	int listener, client, accepted;
};

static struct pair connected(const void *address, socklen_t length)
{
	union {
		struct sockaddr any;
		struct sockaddr_storage room;
	} bound;
	socklen_t size = sizeof(bound);
	struct pair pair;

	memcpy(&bound, address, length);
	pair.listener = socket(bound.any.sa_family, SOCK_STREAM, 0);
	pair.client = socket(bound.any.sa_family, SOCK_STREAM, 0);
	assert_int_equal(bind(pair.listener, &bound.any, length), 0);
	assert_int_equal(listen(pair.listener, 1), 0);
	assert_int_equal(getsockname(pair.listener, &bound.any, &size), 0);
	assert_int_equal(connect(pair.client, &bound.any, size), 0);
	pair.accepted = accept(pair.listener, NULL, NULL);
	assert_true(pair.accepted >= 0);
	return pair;
}

static struct pair by_tcp(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return connected(&address, sizeof(address));
}

static struct pair by_tcp6(void)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	return connected(&address, sizeof(address));
}

/* An abstract name that the kernel chooses. */
static struct pair by_unix(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	return connected(&address, sizeof(address.sun_family));
}

static void close_pair(struct pair pair)
{
	close(pair.listener);
	close(pair.client);
	close(pair.accepted);
}

static void finds_what(struct pair pair)
{
	int64_t before = agent.process->listeners;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	rqs_adopt_listeners(&agent);
	assert_int_equal(agent.process->listeners, before + 1);
	assert_int_equal(agent.connections[pair.listener].kind, RQS_CONN_LISTENER);
	assert_int_equal(agent.connections[pair.client].kind, RQS_CONN_UNKNOWN);
	assert_int_equal(agent.connections[pair.accepted].kind, RQS_CONN_UNKNOWN);
	assert_int_equal(rqs_adopt_origin(pair.accepted), RQS_ORIGIN_SERVED);
	assert_int_equal(rqs_adopt_origin(pair.client), RQS_ORIGIN_OTHER);
	assert_int_equal(rqs_adopt_origin(pair.listener), RQS_ORIGIN_OTHER);
	assert_int_equal(rqs_adopt_origin(ends[0]), RQS_ORIGIN_OTHER);
	assert_int_equal(rqs_adopt_origin(-1), RQS_ORIGIN_OTHER);
	close(ends[0]);
	close(ends[1]);
	close_pair(pair);
}

static void tcp(void **state)
{
	(void)state;
	finds_what(by_tcp());
}

static bool has_tcp6(void)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool has = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	close(fd);
	return has;
}

static void tcp6(void **state)
{
	(void)state;
	if (!has_tcp6())
		skip();
	finds_what(by_tcp6());
}

static void unix_sockets(void **state)
{
	(void)state;
	finds_what(by_unix());
}

static void without_a_listener_nothing_can_be_told(void **state)
{
	(void)state;
	struct pair pair = by_tcp();

	close(pair.listener);
	rqs_adopt_listeners(&agent);
	assert_int_equal(agent.process->listeners, 0);
	assert_int_equal(rqs_adopt_origin(pair.accepted), RQS_ORIGIN_UNKNOWN);
	close(pair.client);
	close(pair.accepted);
}

static void beyond_what_is_kept_nothing_is_ruled_out(void **state)
{
	(void)state;
	struct pair pairs[66];

	for (unsigned i = 0; i < 66; i++)
		pairs[i] = by_tcp();
	rqs_adopt_listeners(&agent);
	assert_int_equal(agent.process->listeners, 66);
	assert_int_equal(rqs_adopt_origin(pairs[0].client), RQS_ORIGIN_UNKNOWN);
	for (unsigned i = 0; i < 66; i++) {
		assert_int_not_equal(rqs_adopt_origin(pairs[i].accepted), RQS_ORIGIN_OTHER);
		close_pair(pairs[i]);
	}
}

static void stamps_are_asked_for(void **state)
{
	(void)state;
	struct pair pair = by_tcp();

	agent.stamping = true;
	rqs_adopt_listeners(&agent);
	assert_true(agent.connections[pair.listener].stamped);
	close_pair(pair);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(tcp),
		TEST(tcp6),
		TEST(unix_sockets),
		TEST(without_a_listener_nothing_can_be_told),
		TEST(beyond_what_is_kept_nothing_is_ruled_out),
		TEST(stamps_are_asked_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
