/* membership.h - the session that a process belongs to, and its environment. Used by the hooks alone. */
#ifndef REQSCOPE_MEMBERSHIP_H
#define REQSCOPE_MEMBERSHIP_H

#include "hook/interpreter.h"
#include "reqscope/region.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RQS_ENV_OUT "REQSCOPE_OUT"
/* As `run`'s --sites and --sample-bytes, for a session that is begun by the library. */
#define RQS_ENV_SITES "REQSCOPE_SITES"
#define RQS_ENV_SAMPLE_BYTES "REQSCOPE_SAMPLE_BYTES"

/* What the constructor learnt; all strings NUL-terminated, all in our own memory. */
struct rqs_session {
	bool wanted;    /* there is a token: this process and its children belong to a session */
	bool attached;  /* the token came with reqscope_attach(); `wanted` is for children alone then */
	bool on_demand; /* plain LD_PRELOAD: the first server of the session starts the collector */
	bool no_sched;  /* the times of goroutines aren't measured */
	char sample_bytes[24]; /* what the collector that we start is told of samples, "": there are none */
	bool stranger;  /* we are built for another C library than the process has: only its children matter */
	char token[RQS_TOKEN_LENGTH + 1];
	char environment[sizeof(RQS_ENV_SESSION) + RQS_TOKEN_LENGTH + 4]; /* "REQSCOPE_SESSION=token[.p]" */
	char library[PATH_MAX];   /* our own file */
	char sibling[PATH_MAX];   /* beside it, that for the other C library, which need not be there; or "" */
	char placer[PATH_MAX];    /* what becomes static Go programs (inject/placing.h), which need not be there; or "" */
	char out[PATH_MAX];       /* REQSCOPE_OUT made absolute, or "" */
	char directory[PATH_MAX]; /* the working directory at the start */
};
extern struct rqs_session rqs_session;

/*
 * What reqscope_attach() was told; the library's path for children, "" none.
 * False: the token is none, or the process belongs to a session by its environment.
 */
bool rqs_session_attach(const char *token, const char *library, bool children);

struct rqs_joined {
	void *region; /* mapped, or as much of it as the host's limits leave */
	uint64_t size;
	bool foreign_pids;
	int memory; /* its descriptor, for the caller to close */
};

/* Joins the session's collector. 0, or -errno: -ECONNREFUSED when there is none. */
int rqs_session_join(struct rqs_joined *joined);

/* A program runs unhooked; where the session has a collector already, that is noted. By system calls alone. */
void rqs_session_count_unplaced(void);

/* The program beside the library. False: it isn't there. */
bool rqs_session_find_program(char *to, size_t size);
/* The environment without what lets children be recorded; NULL: no memory. */
char **rqs_session_bare_environment(void);

/* Starts `reqscope collect` for the session, outside of this process's family. 0 or -errno; waits until it is ready. */
int rqs_session_start_collector(void);

/* What is to be preloaded into a program: the library that fits, or NULL for none of ours. */
const char *rqs_session_library(enum rqs_interpreter interpreter);

/* True when envp is what a child needs: the token, and in LD_PRELOAD that library and no other of ours. */
bool rqs_session_in_environment(char *const *envp, const char *library);
/* How many pointers rqs_session_environment() may write: the count of envp, and the closing NULL, and two. */
size_t rqs_session_environment_size(char *const *envp);
/*
 * Copies envp to `to`, with what a child needs; `preload` is room for a
 * new LD_PRELOAD of at least rqs_session_preload_size(envp, library) bytes.
 */
size_t rqs_session_preload_size(char *const *envp, const char *library);
void rqs_session_environment(char *const *envp, const char *library, char **to, char *preload);

/*
 * The words that make the placer become a program, told by "--path", "--fd" or "--fd-until-exec":
 * `to` has room for RQS_PLACER_WORDS more pointers than argv, its NULL included.
 */
#define RQS_PLACER_WORDS 5u
void rqs_session_placer_words(const char *option, const char *program, char *const *argv, char **to);

#endif
