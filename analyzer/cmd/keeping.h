/* keeping.h - the parts of the command `attach-keeper`; what it and `attach` say to each other is in keeper.h. */
#ifndef CMD_KEEPING_H
#define CMD_KEEPING_H

#include "cmd/descendants.h"
#include "cmd/keeper.h"
#include "cmd/siblings.h"
#include "collect/keeper_words.h"
#include "inject/attach.h"

#include <stdbool.h>
#include <stddef.h>

/* A process of the family. */
struct rqs_member {
	struct rqs_seen_process seen; /* when it was looked at */
	bool attached, detached, present;
	struct rqs_attachment attachment;
};

struct rqs_keeper {
	struct rqs_attach_order order;
	char library[PATH_MAX], musl_library[PATH_MAX];
	struct rqs_siblings siblings;
	int channel, collector, stop;
	bool detach_only;
	bool postponed; /* in the last look one was too young */
	struct rqs_member **members;
	size_t count, room;
	uint32_t attached;
	uint64_t stopped_ns; /* the longest, of all that were attached to */
	struct rqs_keeper_word end;
};

/* telling.c: nobody is waited for. */

void rqs_keeper_tell(const struct rqs_keeper *k, const struct rqs_keeper_word *word);
void rqs_keeper_tell_attaching(const struct rqs_keeper *k, enum rqs_keeper_event event, const struct rqs_member *m,
			       int error);
void rqs_keeper_tell_busy(const struct rqs_keeper *k, const struct rqs_member *m);
void rqs_keeper_tell_collector(const struct rqs_keeper *k, enum rqs_attach_event event, uint32_t processes,
			       uint64_t stopped_ns);

/* family.c: the target and its descendants. */

/* With --children a program is to be found soon: so often they are looked at. */
#define RQS_LOOK_MS 200

/* NULL: no memory. */
struct rqs_member *rqs_family_add(struct rqs_keeper *k, const struct rqs_seen_process *seen);
/* 0 or -errno, as rqs_attach(). */
int rqs_family_attach(struct rqs_keeper *k, struct rqs_member *m);
/* At who is there now; who is new is attached to, if so wanted. */
void rqs_family_look(struct rqs_keeper *k, bool attach);
/* From all that weren't yet. False: there was none left. */
bool rqs_family_detach(struct rqs_keeper *k);

#endif
