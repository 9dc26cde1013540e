/*
 * py_codes.c - numbers for the code objects that samples name, and their
 * records.
 *
 * A code object that was freed leaves its address to others, and so do its
 * texts and tables: one is the same only if the contents are. What finds no
 * place any more takes another's, which gets a new number when it is seen
 * again. The table is of memory that a fork wipes: the child is a process
 * of its own, and numbers from 1.
 */
#include "os/reserve.h"
#include "os/sys.h"
#include "python/py_sites.h"

#include <string.h>
#include <sys/mman.h>

#define SETS 2048u
#define WAYS 4u

struct known {
	const char *code;
	uint64_t contents; /* a hash of what the record tells */
	uint32_t number;   /* 0: free */
};

static struct codes {
	uint32_t busy; /* with two GILs two threads may come; one goes on without */
	uint32_t last;
	struct known known[SETS][WAYS];
} *codes;

bool rqs_py_codes_start(void)
{
	if (!codes)
		codes = rqs_reserve_sparse(sizeof(*codes));
	if (!codes)
		return false;
	rqs_py_codes_forget();
	/* Before Linux 4.14: numbers that a child's records don't tell of would be used. */
	return rqs_sys3(SYS_madvise, codes, sizeof(*codes), MADV_WIPEONFORK) == 0;
}

void rqs_py_codes_forget(void)
{
	if (codes)
		rqs_reserve_forget(codes, sizeof(*codes));
}

static uint16_t limited(uint64_t bytes, uint64_t most)
{
	return (uint16_t)(bytes < most ? bytes : most);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 32;
}

static uint64_t mix_bytes(uint64_t hash, const char *p, size_t n)
{
	uint64_t word = 0;

	hash = mix(hash, n);
	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		hash = mix(hash, word);
	}
	word = 0;
	memcpy(&word, p, n);
	return mix(hash, word);
}

static uint64_t hash_of(const struct rqs_py_code *parts)
{
	uint16_t file = limited(parts->file.bytes, RQS_CODE_TEXT);
	uint64_t hash = mix(parts->first_line, (uint64_t)parts->file.width << 8 | parts->name.width);

	hash = mix_bytes(hash, parts->file.data + parts->file.bytes - file, file);
	hash = mix_bytes(hash, parts->name.data, limited(parts->name.bytes, RQS_CODE_TEXT));
	return mix_bytes(hash, parts->lines, limited(parts->lines_bytes, RQS_CODE_TABLE));
}

static void fill(struct rqs_code_record *record, const struct rqs_py_code *parts, uint32_t number, size_t size)
{
	unsigned char *data = record->data;

	rqs_zero(record, size);
	record->size = (uint16_t)size;
	record->type = RQS_RECORD_CODE;
	record->number = number;
	record->first_line = parts->first_line;
	record->file_bytes = limited(parts->file.bytes, RQS_CODE_TEXT);
	record->file_width = parts->file.width;
	record->name_bytes = limited(parts->name.bytes, RQS_CODE_TEXT);
	record->name_width = parts->name.width;
	if (parts->lines_bytes <= RQS_CODE_TABLE) {
		record->table_kind = (uint8_t)parts->lines_kind;
		record->table_bytes = (uint16_t)parts->lines_bytes;
	}
	rqs_copy(data, parts->file.data + parts->file.bytes - record->file_bytes, record->file_bytes);
	rqs_copy(data + record->file_bytes, parts->name.data, record->name_bytes);
	rqs_copy(data + record->file_bytes + record->name_bytes, parts->lines, record->table_bytes);
}

static bool tell(const struct rqs_call *call, const struct rqs_py_code *parts, uint32_t number)
{
	size_t lines = parts->lines_bytes <= RQS_CODE_TABLE ? parts->lines_bytes : 0;
	size_t size = sizeof(struct rqs_code_record) + limited(parts->file.bytes, RQS_CODE_TEXT) +
		      limited(parts->name.bytes, RQS_CODE_TEXT) + lines;

	size = (size + 7) & ~(size_t)7;
	struct rqs_code_record *record = rqs_sample_space(call->agent, call->worker, size);
	if (!record)
		return false;
	fill(record, parts, number, size);
	rqs_record_commit(call->worker, size);
	return true;
}

static uint32_t number_of(const struct rqs_call *call, const char *code)
{
	struct known *set = codes->known[((uint64_t)code >> 4) * 0x9e3779b97f4a7c15ull >> 53];
	struct rqs_py_code parts;

	if (!rqs_py_code_read(code, &parts))
		return 0;
	uint64_t contents = hash_of(&parts);
	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].number && set[i].code == code && set[i].contents == contents)
			return set[i].number;
	uint32_t number = codes->last + 1;
	/* No sample names what the collector wasn't told. */
	if (!tell(call, &parts, number))
		return 0;
	codes->last = number;
	set[number % WAYS] = (struct known){ .code = code, .contents = contents, .number = number };
	return number;
}
_Static_assert(SETS == 1u << (64 - 53), "the hash's bits");

void rqs_py_codes_number(const struct rqs_call *call, const struct rqs_py_frame *frames, uint16_t count,
			 struct rqs_sample_frame *numbered)
{
	bool mine = !__atomic_exchange_n(&codes->busy, 1, __ATOMIC_ACQUIRE);

	for (uint16_t i = 0; i < count; i++) {
		numbered[i].offset = frames[i].offset;
		numbered[i].code = mine && frames[i].code ? number_of(call, frames[i].code) : 0;
	}
	if (mine)
		rqs_store(&codes->busy, 0);
}
