/* fuzz_trace.c - a whole trace through reader, model and every renderer. */
#include "made_trace.h"
#include "model/trace.h"
#include "render/formats.h"
#include "report/compare_doc.h"
#include "report/compare_json.h"
#include "report/inspect.h"
#include "report/report_doc.h"
#include "report/report_json.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void render(struct rqs_doc *doc, cJSON *json, FILE *out)
{
#define RENDER(symbol)                                                                                                 \
	rqs_format_##symbol.render(out, &(struct rqs_rendering){.doc = doc, .json = json, .color = true});
	RQS_FORMAT_LIST(RENDER)
#undef RENDER
	rqs_doc_free(doc);
	cJSON_Delete(json);
}

static void use(char *path, FILE *out)
{
	static struct rqs_inspection inspection;
	const struct rqs_load_options options = {.sites = true};
	struct rqs_comparison c;
	struct rqs_findings findings = {.options = {.allow_single_run = true, .sites = true}};
	char *sides[] = {path, path};
	size_t at;

	rqs_inspect(&inspection, path);
	if (!inspection.fatal)
		render(rqs_inspection_doc(&inspection), rqs_inspection_json(&inspection), out);
	rqs_inspection_free(&inspection);
	free(rqs_sides_parse(&c, sides, 2));
	rqs_traces_load(&c.traces, c.file, c.files, &options);
	if (!c.traces.trace[0].fatal) {
		render(rqs_report_doc(&c.traces, 10), rqs_report_json(&c.traces, 10), out);
		rqs_sides_unite(&c);
		free(rqs_gates_add(&findings.gates, "p99<=+5%", &at));
		free(rqs_gates_add(&findings.gates, "errors<=+1pp", &at));
		free(rqs_gates_add(&findings.gates, "mean<=1ms", &at));
		rqs_findings_make(&findings, &c);
		render(rqs_compare_doc(&findings), rqs_compare_json(&findings), out);
		rqs_findings_free(&findings);
	}
	rqs_comparison_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	made_trace_use(bytes, length, use);
	return 0;
}
