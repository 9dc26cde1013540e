/* exporter.c - finds an exporter, and a route by its name. */
#include "export/exporter.h"

#include <string.h>

#define ADDRESS(symbol) &rqs_exporter_##symbol,
static const struct rqs_exporter *const exporters[] = {RQS_EXPORTER_LIST(ADDRESS)};
#undef ADDRESS

const struct rqs_exporter *rqs_exporter_find(const char *name)
{
	for (size_t i = 0; i < sizeof(exporters) / sizeof(exporters[0]); i++)
		if (!strcmp(exporters[i]->name, name))
			return exporters[i];
	return NULL;
}

const char *rqs_exporter_names(void)
{
#define NAME(symbol) ", " #symbol
	return &(RQS_EXPORTER_LIST(NAME))[2];
#undef NAME
}

bool rqs_export_has_route(const struct rqs_export *what, unsigned row)
{
	const char *method = rqs_route_method(what->traces->routes, row);
	size_t length = strlen(method);

	if (!what->route)
		return true;
	return !strncmp(what->route, method, length) && what->route[length] == ' ' &&
	       !strcmp(what->route + length + 1, rqs_routes_get(what->traces->routes, row).path);
}
