/*
 * py_slot.c - where CPython keeps the state of the thread that holds the GIL:
 * in a global variable up to 3.11, in one of the thread's later. A function
 * tells its value, but that is asked for at each allocation, and a call costs
 * more than all the rest. So that function's code is looked at: where it is
 * one of those that compilers make of "return the variable", we read it, too.
 *
 * Nothing is decoded, only compared; what differs in a single byte is called.
 */
#include "hook/objects.h"
#include "python/py.h"
#include "python/py_api.h"

#include <string.h>

#define ANY -1
#define FOUR_ANY ANY, ANY, ANY, ANY
#define RETURN 0xc3

static const int16_t global[] = {0x48, 0x8b, 0x05, FOUR_ANY, RETURN};
/* Through its object's address: of a library. */
static const int16_t member[] = {0x48, 0x8b, 0x05, FOUR_ANY, 0x48, 0x8b, 0x80, FOUR_ANY, RETURN};
static const int16_t executables_own[] = {0x64, 0x48, 0x8b, 0x04, 0x25, FOUR_ANY, RETURN};
/* By __tls_get_addr: of a library. */
static const int16_t librarys_own[] = {0x48, 0x83, 0xec, 0x08, 0x66, 0x48, 0x8d, 0x3d, FOUR_ANY, 0x66, 0x66, 0x48, 0xe8,
				       FOUR_ANY, 0x48, 0x8b, 0x00, 0x48, 0x83, 0xc4, 0x08, RETURN};

static struct {
	void *const *shared; /* one for all threads */
	intptr_t from_thread; /* distance from the thread's own area, 0 unknown */
	void *index;          /* for get_address */
	void *(*get_address)(void *);
} place;

/* Reads no byte behind the first that differs. */
static bool is_code(const uint8_t *code, const int16_t *pattern, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (pattern[i] != ANY && pattern[i] != code[i])
			return false;
	return true;
}
#define IS_CODE(code, pattern) is_code(code, pattern, sizeof(pattern) / sizeof(pattern[0]))

static intptr_t number_at(const uint8_t *code)
{
	int32_t n;

	memcpy(&n, code, sizeof(n));
	return n;
}

/* What an instruction's operand at code refers to. */
static void *relative(const uint8_t *code)
{
	return (void *)(code + 4 + number_at(code));
}

void rqs_py_slot_find(void)
{
	static const uint8_t endbr[] = {0xf3, 0x0f, 0x1e, 0xfa};
	const uint8_t *code;

	memcpy(&code, &rqs_py.thread_state, sizeof(code));
	if (memcmp(code, endbr, sizeof(endbr)) == 0)
		code += sizeof(endbr);
	if (IS_CODE(code, global))
		place.shared = relative(code + 3);
	else if (IS_CODE(code, member))
		place.shared = (void *)(*(char **)relative(code + 3) + number_at(code + 10));
	else if (IS_CODE(code, executables_own))
		place.from_thread = number_at(code + 5);
	else if (IS_CODE(code, librarys_own))
		place.index = relative(code + 8);
	*(void **)(void *)&place.get_address = rqs_objects_any("__tls_get_addr", NULL);
}

void *const *rqs_py_slot(void)
{
	void *const *slot = place.shared;
	char *own;

	__asm__("mov %%fs:0, %0" : "=r"(own));
	if (place.from_thread)
		slot = (void *)(own + place.from_thread);
	else if (place.index && place.get_address)
		slot = place.get_address(place.index);
	return slot && *slot == rqs_py.thread_state() ? slot : NULL;
}
