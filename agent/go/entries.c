/* entries.c - the hooks of go_entries.S, by the kind of site that they are for. */
#include "go/setup.h"

void rqs_go_syscall_loaded(void);
void rqs_go_syscall_done(void);
void rqs_go_alloc(void);
void rqs_go_status(void);

/* Not called from C: they take what Go has in registers. */
__attribute__((visibility("default"))) const uint64_t rqs_go_entries[RQS_SITE_KINDS] = {
	[RQS_SITE_SYSCALL_LOADED] = (uint64_t)rqs_go_syscall_loaded,
	[RQS_SITE_SYSCALL_DONE] = (uint64_t)rqs_go_syscall_done,
	[RQS_SITE_ALLOC] = (uint64_t)rqs_go_alloc,
	[RQS_SITE_STATUS] = (uint64_t)rqs_go_status,
	[RQS_SITE_PREEMPTED] = (uint64_t)rqs_go_status,
};
