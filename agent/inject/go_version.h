/* go_version.h - tells Go programs from others, cheaply. */
#ifndef REQSCOPE_GO_VERSION_H
#define REQSCOPE_GO_VERSION_H

#include "inject/elf_image.h"

/* Whether the file is a Go program. version, of `size` bytes, becomes "1.26.8" or "" where that isn't known. */
bool rqs_go_version(struct rqs_image *image, char *version, size_t size);

#endif
