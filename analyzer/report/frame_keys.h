/*
 * frame_keys.h - which frames of different traces are the same: those of the
 * same kind and function in files of the same name in a folder of the same
 * name. Lines don't count, as every change above moves them, nor do folders
 * above (python3.11, python3.12) and Go's versions (gin@v1.9.1).
 */
#ifndef REQSCOPE_FRAME_KEYS_H
#define REQSCOPE_FRAME_KEYS_H

#include "base/intern.h"
#include "model/alloc_sites.h"

/* The same number for the same frame: that of a text in the table, which begins empty. */
uint32_t rqs_frame_key(struct rqs_intern *keys, const struct rqs_frame_name *name);

/* The end of a path that tells its file, with the folder, without a version; of a frame without a file its module. */
char *rqs_frame_place(const struct rqs_frame_name *name);

#endif
