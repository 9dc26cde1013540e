/*
 * frame_keys.h - which frames of different traces are the same: those of the
 * same kind and function in files of the same name in a folder of the same
 * name. Lines don't count, as every change above moves them, nor do folders
 * above (python3.11, python3.12) and Go's versions (gin@v1.9.1).
 */
#ifndef REQSCOPE_FRAME_KEYS_H
#define REQSCOPE_FRAME_KEYS_H

#include "model/alloc_sites.h"

struct rqs_frame_keys;

struct rqs_frame_keys *rqs_frame_keys_new(void);
/* The same number for the same frame; they count from 0. */
uint32_t rqs_frame_key(struct rqs_frame_keys *keys, const struct rqs_frame_name *name);
unsigned rqs_frame_keys_count(const struct rqs_frame_keys *keys);
void rqs_frame_keys_free(struct rqs_frame_keys *keys);

/* The end of a path that tells its file, with the folder, without a version; of a frame without a file its module. */
char *rqs_frame_place(const struct rqs_frame_name *name);

#endif
