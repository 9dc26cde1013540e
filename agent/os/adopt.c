/* adopt.c - see adopt.h. */
#include "os/adopt.h"

#include "os/stamps.h"
#include "os/sys.h"
#include "os/trial.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The addresses of listeners, each as a number; more aren't kept, and then nothing can be ruled out. */
#define ADDRESSES 64u
static uint64_t addresses[ADDRESSES];
static uint32_t address_count;
/* The calls below may be made. */
static bool asks;

/* ---- addresses ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

/* FNV-1a (G. Fowler, L. Noll, K.-P. Vo), apart from ports. */
static uint64_t hash(const char *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
	return h | 1ull << 63;
}

/*
 * What an accepted socket's own address has in common with its listener's: the
 * port, as the listener's host may be a wildcard; or the name. 0: it is none,
 * or of another family.
 */
static uint64_t address_of(int fd)
{
	union address address;
	unsigned size = sizeof(address);

	if (rqs_sys3(SYS_getsockname, fd, &address, &size) || size < sizeof(address.any.sa_family))
		return 0;
	switch (address.any.sa_family) {
	case AF_INET:
		return address.in.sin_port;
	case AF_INET6:
		return address.in6.sin6_port;
	case AF_UNIX:
		/* A client's has no name. */
		if (size <= offsetof(struct sockaddr_un, sun_path) || size > sizeof(address.un))
			return 0;
		return hash(address.un.sun_path, size - offsetof(struct sockaddr_un, sun_path));
	default:
		return 0;
	}
}

static bool option_is(int fd, int option, int wanted)
{
	int value = 0;
	unsigned size = sizeof(value);

	return rqs_sys5(SYS_getsockopt, fd, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
}

enum rqs_origin rqs_adopt_origin(int fd)
{
	if (!asks || !address_count)
		return RQS_ORIGIN_UNKNOWN;
	if (!option_is(fd, SO_TYPE, SOCK_STREAM) || !option_is(fd, SO_ACCEPTCONN, 0))
		return RQS_ORIGIN_OTHER;
	uint64_t address = address_of(fd);
	for (uint32_t i = 0; address && i < address_count && i < ADDRESSES; i++)
		if (addresses[i] == address)
			return RQS_ORIGIN_SERVED;
	return address_count > ADDRESSES ? RQS_ORIGIN_UNKNOWN : RQS_ORIGIN_OTHER;
}

/* ---- the listeners ---- */

/* An inherited filter may forbid them. */
static bool calls_are_allowed(void)
{
	int value = 0;
	unsigned size = sizeof(value);

	return rqs_sys4(SYS_openat, -1, "", O_RDONLY, 0) < 0 && rqs_sys3(SYS_getdents64, -1, NULL, 0) == -EBADF &&
	       rqs_sys3(SYS_getsockname, -1, NULL, NULL) == -EBADF &&
	       rqs_sys5(SYS_getsockopt, -1, SOL_SOCKET, SO_TYPE, &value, &size) == -EBADF;
}

static void adopt(struct rqs_agent *agent, int fd)
{
	struct rqs_call call = { .agent = agent };

	if (!option_is(fd, SO_ACCEPTCONN, 1) || !option_is(fd, SO_TYPE, SOCK_STREAM))
		return;
	rqs_conn_listening(&call, fd);
	rqs_stamps_ask(agent, fd);
	uint64_t address = address_of(fd);
	if (!address)
		return;
	if (address_count < ADDRESSES)
		addresses[address_count] = address;
	address_count++;
}

/* The number that the name is, or -1. */
static int number(const char *name)
{
	int n = *name ? 0 : -1;

	for (; *name >= '0' && *name <= '9' && n < (int)RQS_DESCRIPTORS; name++)
		n = 10 * n + (*name - '0');
	return *name ? -1 : n;
}

/* struct linux_dirent64 */
struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

static void adopt_all(struct rqs_agent *agent, const char *entries, size_t length, int own)
{
	for (size_t at = 0; at + offsetof(struct entry, name) < length;) {
		const struct entry *entry = (const void *)(entries + at);
		int fd = number(entry->name);

		if (fd >= 0 && fd != own)
			adopt(agent, fd);
		at += entry->size;
	}
}

void rqs_adopt_listeners(struct rqs_agent *agent)
{
	uint64_t entries[256];
	long n;

	address_count = 0;
	asks = !agent->frozen && rqs_trial_passes(calls_are_allowed);
	if (!asks)
		return;
	int own = (int)rqs_sys4(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (own < 0)
		return;
	while ((n = rqs_sys3(SYS_getdents64, own, entries, sizeof(entries))) > 0)
		adopt_all(agent, (const char *)entries, (size_t)n, own);
	rqs_sys1(SYS_close, own);
}
