/* dynsym.h - finds a symbol in a shared object that is in memory whole: our own payload, or the kernel's vDSO. */
#ifndef REQSCOPE_DYNSYM_H
#define REQSCOPE_DYNSYM_H

#include <stddef.h>
#include <stdint.h>

/* The symbol's address as linked; 0 where it isn't defined, or the bytes are no whole ELF file. */
uint64_t rqs_dynsym(const uint8_t *bytes, size_t size, const char *name);

#endif
