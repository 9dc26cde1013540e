/*
 * request_path.c - what the agent itself adds to a request: the same bytes,
 * again and again, told to the core as the hooks of a Go program do.
 *
 *    request_path [REQUESTS]
 *
 * Prints ns a request, of the fastest of many short runs: what other programs
 * do to the machine meanwhile is hardly seen. For instructions:
 *    valgrind --tool=callgrind --toggle-collect=run build/bench/request_path 2000
 */
#include "collect/mapping.h"
#include "go/go.h"
#include "os/host.h"
#include "os/stamps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define RUNS 300
#define CONNECTIONS 32
#define GOROUTINES 1024

static const char wrk_head[] = "GET /json HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
static const char browser_head[] =
	"GET /users/7?full=1 HTTP/1.1\r\nHost: shop.example.org\r\nConnection: keep-alive\r\n"
	"sec-ch-ua: \"Chromium\";v=\"126\", \"Not.A/Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\n"
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n"
	"sec-ch-ua-platform: \"Linux\"\r\nAccept: application/json, text/plain, */*\r\nSec-Fetch-Site: same-origin\r\n"
	"Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: https://shop.example.org/account/overview\r\n"
	"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
	"Cookie: session=1f0c8d4e5a6b7c8d9e0f1a2b3c4d5e6f; theme=dark; consent=yes\r\n\r\n";
static const char response[] =
	"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: Mon, 23 Nov 2026 06:19:32 GMT\r\n"
	"Content-Length: 27\r\n\r\n{\"message\":\"Hello, World!\"}";

static struct rqs_region region;
static struct rqs_agent agent;
static struct rqs_go_context context;
static struct rqs_table table;
static uint64_t goroutines[CONNECTIONS][64] __attribute__((aligned(512))); /* runtime.g: only its stack guard is read */

static void start(void)
{
	static struct rqs_conn connections[CONNECTIONS];
	static struct rqs_alive alive;

	if (rqs_region_create(&region))
		abort();
	agent.env = rqs_host_env(clock_gettime);
	agent.alive = &alive;
	agent.connections = connections;
	agent.connection_limit = CONNECTIONS;
	agent.runtime = RQS_RUNTIME_GO;
	agent.meter = &rqs_meter_go;
	agent.threadless = true;
	agent.measures = RQS_MEASURES_ALLOC | RQS_MEASURES_CHILDREN;
	rqs_go.agent = &agent;
	rqs_go.meters = aligned_alloc(128, RQS_CHUNKS * 64 * sizeof(struct rqs_go_meter));
	rqs_go.table = &table;
	rqs_go.goroutines = (uint64_t)table.goroutines;
	rqs_go.goroutine_mask = (GOROUTINES - 1) * sizeof(struct rqs_goroutine);
	rqs_go.goroutines_end = (uint64_t)(table.goroutines + GOROUTINES);
	if (!rqs_go.meters || !rqs_agent_start(&agent, region.header, region.size))
		abort();
}

/* The collector's part: what is read is free again. */
static void drain(void)
{
	for (uint32_t i = 0; i < RQS_CHUNKS && region.owners[i]; i++) {
		struct rqs_chunk_header *chunk = rqs_chunk_at(&region, i);

		if (chunk->kind != RQS_CHUNK_RECORDS || !chunk->sealed)
			continue;
		memset(chunk, 0, sizeof(*chunk));
		region.owners[i] = 0;
	}
}

static void one_read(int fd, uint64_t g, const char *head, size_t length, uint64_t now_ns)
{
	static struct {
		struct cmsghdr header;
		struct timespec at;
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(struct timespec)), .cmsg_level = SOL_SOCKET, .cmsg_type = 64}};
	struct iovec v = {.iov_base = (void *)head, .iov_len = 4096};
	struct msghdr message = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct rqs_go_call frame = {
		.g = g, .arguments = {(uint64_t)fd}, .number = CALL_STAMPED, .extra = (uint64_t)&message, .result = length};

	control.at = (struct timespec){.tv_sec = (time_t)(now_ns / 1000000000u), .tv_nsec = (long)(now_ns % 1000000000u)};
	rqs_go_call_done(&context, &frame);
}

static void one_write(int fd, uint64_t g)
{
	struct rqs_go_call frame = {.g = g,
				    .arguments = {(uint64_t)fd, (uint64_t)response, sizeof(response) - 1},
				    .number = SYS_write,
				    .extra = rqs_tsc(),
				    .result = sizeof(response) - 1};

	rqs_go_call_done(&context, &frame);
}

void run(const char *head, size_t length, uint32_t requests);

__attribute__((noinline)) void run(const char *head, size_t length, uint32_t requests)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t stamp = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	for (uint32_t i = 0; i < requests; i++) {
		int fd = (int)(i % (CONNECTIONS - 3)) + 3;
		uint64_t g = (uint64_t)goroutines[fd];

		one_read(fd, g, head, length, stamp);
		one_write(fd, g);
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void measure(const char *name, const char *head, uint32_t requests)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < RUNS; i++) {
		uint64_t begin = now_ns();

		run(head, strlen(head), requests);
		uint64_t taken = now_ns() - begin;
		best = taken < best ? taken : best;
		drain();
	}
	printf("%-8s %6.1f ns a request\n", name, (double)best / requests);
}

int main(int argc, char **argv)
{
	uint32_t requests = argc > 1 ? (uint32_t)atoi(argv[1]) : 1000;

	start();
	struct rqs_call call = {.agent = &agent, .worker = &context.worker, .ticks = rqs_now(&agent)};
	rqs_worker_start(&agent, &context.worker);
	for (int fd = 3; fd < CONNECTIONS; fd++) {
		rqs_conn_accepted(&call, fd);
		agent.connections[fd].stamped = true;
	}
	measure("short", wrk_head, requests);
	measure("browser", browser_head, requests);
	return 0;
}
