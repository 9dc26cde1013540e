/* remote.c - see remote.h. */
#include "unwind/remote.h"

/* Exported for who has a table at hand, though declared in no header; perf(1) calls it likewise. */
extern int _Ux86_64_dwarf_search_unwind_table(unw_addr_space_t space, unw_word_t address, unw_dyn_info_t *table,
					      unw_proc_info_t *about, int whole, void *context);

/* ---- accessors ---- */

static void put_unwind_info(unw_addr_space_t space, unw_proc_info_t *about, void *context)
{
	(void)space, (void)about, (void)context;
}

static int no_dynamic_list(unw_addr_space_t space, unw_word_t *list, void *context)
{
	(void)space, (void)list, (void)context;
	return -UNW_ENOINFO;
}

static int no_fp_register(unw_addr_space_t space, unw_regnum_t number, unw_fpreg_t *value, int write, void *context)
{
	(void)space, (void)number, (void)value, (void)write, (void)context;
	return -UNW_EBADREG;
}

static int no_resuming(unw_addr_space_t space, unw_cursor_t *cursor, void *context)
{
	(void)space, (void)cursor, (void)context;
	return -UNW_EINVAL;
}

static int no_name(unw_addr_space_t space, unw_word_t address, char *name, size_t size, unw_word_t *offset,
		   void *context)
{
	(void)space, (void)address, (void)name, (void)size, (void)offset, (void)context;
	return -UNW_ENOINFO;
}

unw_addr_space_t rqs_remote_space(rqs_find_proc_info_fn find, rqs_access_word_fn word, rqs_access_register_fn reg)
{
	unw_accessors_t accessors = {find, put_unwind_info, no_dynamic_list, word,
				     reg,  no_fp_register,  no_resuming,     no_name};
	unw_addr_space_t space = unw_create_addr_space(&accessors, 0);

	if (space)
		unw_set_caching_policy(space, UNW_CACHE_GLOBAL);
	return space;
}

/* ---- .eh_frame_hdr ---- */

bool rqs_remote_table_read(struct rqs_remote_table *table, uint64_t address,
			   bool (*read)(void *context, uint64_t address, void *bytes, uint64_t size), void *context)
{
	struct {
		uint8_t version, frame_kind, count_kind, table_kind;
		uint32_t frame, count;
	} head;

	/* LSB's header of .eh_frame: of the kinds that there are only the one that linkers make. */
	if (!read(context, address, &head, sizeof(head)) || head.version != 1 || head.frame_kind != 0x1b ||
	    head.count_kind != 0x03 || head.table_kind != 0x3b)
		return false;
	*table = (struct rqs_remote_table){.base = address, .rows = address + sizeof(head), .count = head.count};
	return true;
}

int rqs_remote_search(const struct rqs_remote_table *table, unw_addr_space_t space, unw_word_t address,
		      unw_proc_info_t *about, int whole, void *context)
{
	unw_dyn_info_t info = {.format = UNW_INFO_FORMAT_REMOTE_TABLE, .start_ip = 0, .end_ip = UINT64_MAX};

	info.u.rti.segbase = table->base;
	info.u.rti.table_data = table->rows;
	info.u.rti.table_len = table->count * 8 / sizeof(unw_word_t);
	return _Ux86_64_dwarf_search_unwind_table(space, address, &info, about, whole, context);
}
