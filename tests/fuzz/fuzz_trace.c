/*
 * fuzz_trace.c - a whole trace through reader, model and every renderer.
 *
 * A checksum and a compressor stand between a fuzzer and most of the code, so
 * the first byte of an input chooses: 0, the rest is the file as it is;
 * otherwise the rest is a list of (type, length in two bytes, payload), from
 * which correct frames are made.
 */
#define XXH_INLINE_ALL
#include "model/trace.h"
#include "render/formats.h"
#include "report/compare_doc.h"
#include "report/compare_json.h"
#include "report/inspect.h"
#include "report/report_doc.h"
#include "report/report_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void put(int fd, const void *bytes, size_t length)
{
	if (write(fd, bytes, length) != (ssize_t)length)
		abort();
}

static void put_frame(int fd, uint8_t type, const uint8_t *payload, size_t length)
{
	static uint8_t stored[70000];
	struct rqs_frame_header h = {
	    .magic = RQS_FRAME_MAGIC,
	    .type = type,
	    .version = 1,
	    .raw_length = (uint32_t)length,
	    .last_time = 1u << 30,
	};
	XXH64_state_t hash;

	h.stored_length = (uint32_t)ZSTD_compress(stored, sizeof(stored), payload, length, -5);
	XXH64_reset(&hash, 0);
	XXH64_update(&hash, &h, offsetof(struct rqs_frame_header, checksum));
	XXH64_update(&hash, stored, h.stored_length);
	h.checksum = XXH64_digest(&hash);
	put(fd, &h, sizeof(h));
	put(fd, stored, h.stored_length);
}

static void put_frames(int fd, const uint8_t *p, const uint8_t *end)
{
	while (end - p >= 3) {
		size_t length = (size_t)(p[1] | p[2] << 8);

		if (length > (size_t)(end - p - 3))
			length = (size_t)(end - p - 3);
		put_frame(fd, p[0] % 10, p + 3, length);
		p += 3 + length;
	}
}

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
	static FILE *out;
	char path[40];

	if (!length)
		return 0;
	if (!out)
		out = fopen("/dev/null", "w");
	int fd = memfd_create("trace", MFD_CLOEXEC);
	if (fd < 0 || !out)
		abort();
	if (bytes[0])
		put_frames(fd, bytes + 1, bytes + length);
	else
		put(fd, bytes + 1, length - 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	use(path, out);
	close(fd);
	return 0;
}
