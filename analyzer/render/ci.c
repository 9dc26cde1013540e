/*
 * ci.c - gates for machines that run tests: JUnit's XML, as Jenkins and GitLab
 * read it, and GitHub's workflow commands, which become annotations
 * (docs.github.com, "Workflow commands for GitHub Actions").
 *
 * Both show what JSON has under "gates" and "preflight".
 */
#include "render/escape.h"
#include "render/formats.h"

#include <stdlib.h>
#include <string.h>

static const char *text_of(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsString(item) ? item->valuestring : "";
}

static bool passed(const cJSON *gate)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(gate, "passed"));
}

/* ---- JUnit ---- */

static void put_attribute(FILE *out, const char *name, const char *text)
{
	char *clean = rqs_clean_html(text);

	fprintf(out, " %s=\"%s\"", name, clean);
	free(clean);
}

static void put_case(FILE *out, const cJSON *gate)
{
	fputs("    <testcase", out);
	put_attribute(out, "classname", text_of(gate, "side"));
	put_attribute(out, "name", text_of(gate, "gate"));
	fputs(">\n", out);
	if (!passed(gate)) {
		fputs("      <failure", out);
		put_attribute(out, "type", text_of(gate, "verdict"));
		put_attribute(out, "message", text_of(gate, "text"));
		fputs("/>\n", out);
	}
	fputs("    </testcase>\n", out);
}

static void render_junit(FILE *out, const struct rqs_rendering *what)
{
	const cJSON *gates = cJSON_GetObjectItemCaseSensitive(what->json, "gates"), *gate;
	int failures = 0;

	cJSON_ArrayForEach(gate, gates) failures += !passed(gate);
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite", out);
	put_attribute(out, "name", what->doc->title);
	fprintf(out, " tests=\"%d\" failures=\"%d\" errors=\"0\">\n", cJSON_GetArraySize(gates), failures);
	cJSON_ArrayForEach(gate, gates) put_case(out, gate);
	fputs("  </testsuite>\n</testsuites>\n", out);
}

const struct rqs_format rqs_format_junit = {
    .name = "junit", .document = true, .data = true, .gates = true, .render = render_junit};

/* ---- GitHub ---- */

/* Line ends would begin a command of their own; in a property colons and commas end it, too. */
static void put_escaped(FILE *out, const char *text, const char *special)
{
	char *clean = rqs_clean(text);

	for (const char *p = clean; *p; p++) {
		if (*p == '%' || strchr(special, *p))
			fprintf(out, "%%%02X", (unsigned char)*p);
		else
			fputc(*p, out);
	}
	free(clean);
}

static void put_command(FILE *out, const char *level, const char *title, const char *text)
{
	fprintf(out, "::%s title=", level);
	put_escaped(out, title, ":,\r\n");
	fputs("::", out);
	put_escaped(out, text, "\r\n");
	fputc('\n', out);
}

static const char *level_of(const cJSON *gate)
{
	return passed(gate) ? "notice" : strcmp(text_of(gate, "verdict"), "regressed") ? "warning" : "error";
}

static void render_github(FILE *out, const struct rqs_rendering *what)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(what->json, "preflight"))
	    put_command(out, "warning", what->doc->title, text_of(item, "text"));
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(what->json, "gates"))
	    put_command(out, level_of(item), text_of(item, "gate"), text_of(item, "text"));
}

const struct rqs_format rqs_format_github = {
    .name = "github", .document = true, .data = true, .gates = true, .render = render_github};
