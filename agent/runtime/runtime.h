/*
 * runtime.h - the language runtimes that the agent knows, and the list of them.
 *
 * One more runtime is one more file and one line in RQS_RUNTIME_LIST.
 */
#ifndef REQSCOPE_RUNTIME_H
#define REQSCOPE_RUNTIME_H

#include "reqscope/region.h"

#include <stdbool.h>
#include <stddef.h>

struct rqs_runtime_ops {
	enum rqs_runtime id;
	/*
	 * Is this the runtime of the process? Asked once, on activation; may look
	 * for symbols. Writes the version when that is cheaply known, else leaves it empty.
	 */
	bool (*detect)(char *version, size_t size);
};

/*
 * X(symbol): extern const struct rqs_runtime_ops rqs_runtime_<symbol>. The first that fits wins; the last always does.
 * Node comes first: an addon of it may have Python in it, which isn't what serves.
 */
#define RQS_RUNTIME_LIST(X) \
	X(go)               \
	X(node)             \
	X(python)           \
	X(native)

#define RQS_DECLARE_RUNTIME(symbol) extern const struct rqs_runtime_ops rqs_runtime_##symbol;
RQS_RUNTIME_LIST(RQS_DECLARE_RUNTIME)
#undef RQS_DECLARE_RUNTIME

/* Node's thread is about to wait in its loop; only where the agent is on. */
void rqs_node_waits(void);

#endif
