/* totals_list.c - the first ones, and the sum of the rest. */
#include "collect/totals_list.h"

/* What can be added up is: numbers, in objects, too. What only the other has is taken over. */
static void add_up(cJSON *sum, const cJSON *other)
{
	const cJSON *from;

	cJSON_ArrayForEach(from, other)
	{
		cJSON *to = from->string ? cJSON_GetObjectItemCaseSensitive(sum, from->string) : NULL;

		if (!from->string || cJSON_IsNull(from))
			continue;
		if (cJSON_IsObject(to) && cJSON_IsObject(from))
			add_up(to, from);
		else if (cJSON_IsNumber(to) && cJSON_IsNumber(from))
			cJSON_SetNumberValue(to, to->valuedouble + from->valuedouble);
		else if (cJSON_IsNull(to))
			cJSON_ReplaceItemInObjectCaseSensitive(sum, from->string, cJSON_Duplicate(from, 1));
		else if (!to)
			cJSON_AddItemToObject(sum, from->string, cJSON_Duplicate(from, 1));
	}
}

/* A number of its own, and the most that it had in memory, aren't a sum's. */
static void make_anonymous(cJSON *process)
{
	cJSON_DeleteItemFromObjectCaseSensitive(process, "process");
	cJSON_DeleteItemFromObjectCaseSensitive(process, "rss_peak");
}

void rqs_totals_list_add(struct rqs_totals_list *list, cJSON *process)
{
	if (list->count < RQS_TOTALS_LISTED && cJSON_GetObjectItemCaseSensitive(process, "process")) {
		list->count++;
		cJSON_AddItemToArray(list->list, process);
		return;
	}
	make_anonymous(process);
	if (!list->rest) {
		list->rest = process;
		cJSON_AddItemToArray(list->list, process);
		return;
	}
	add_up(list->rest, process);
	cJSON_Delete(process);
}
