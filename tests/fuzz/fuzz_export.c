/* fuzz_export.c - a whole trace through every exporter, loaded for each as `reqscope export` does. */
#include "export/exporter.h"
#include "made_trace.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct exporting {
	const struct rqs_exporter *exporter;
	void *state;
	struct rqs_chosen chosen;
};

static void take_rows(void *context, const struct rqs_request_rows *rows)
{
	struct exporting *e = context;

	e->chosen.rows = rows;
	e->chosen.count = rows->block->rows;
	for (uint32_t i = 0; i < rows->block->rows; i++)
		e->chosen.index[i] = (uint16_t)i;
	e->exporter->take(e->state, &e->chosen);
}

static void export_by(const struct rqs_exporter *exporter, char *path, FILE *out)
{
	static struct exporting e;
	struct rqs_traces traces = {0};
	const struct rqs_export what = {.traces = &traces, .out = out};
	const struct rqs_load_options options = {
	    .sites = exporter->needs_sites,
	    .rows = exporter->take ? take_rows : NULL,
	    .rows_context = &e,
	};

	e.exporter = exporter;
	e.state = exporter->start(&what);
	rqs_traces_load(&traces, &path, 1, &options);
	if (!traces.trace[0].fatal && (!exporter->needs_sites || traces.trace[0].result.sites.known))
		exporter->finish(e.state);
	exporter->free(e.state);
	rqs_traces_free(&traces);
}

static void use(char *path, FILE *out)
{
#define EXPORT(symbol) export_by(&rqs_exporter_##symbol, path, out);
	RQS_EXPORTER_LIST(EXPORT)
#undef EXPORT
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	made_trace_use(bytes, length, use);
	return 0;
}
