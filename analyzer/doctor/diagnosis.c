/* diagnosis.c - see diagnosis.h. A text may have parts of a command line in it, and is made fit for a terminal. */
#include "doctor/diagnosis.h"

#include "base/alloc.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const levels[] = {"ok", "info", "warning", "error"};

/* UTF-8 stays; control characters don't. */
static char *format_text(const char *format, va_list arguments)
{
	char *text = NULL;

	if (vasprintf(&text, format, arguments) < 0)
		return rqs_format("out of memory");
	for (char *s = text; *s; s++)
		if (iscntrl((unsigned char)*s))
			*s = '?';
	return text;
}

void rqs_diagnose(struct rqs_diagnosis *diagnosis, const char *id, enum rqs_level level, const char *format, ...)
{
	va_list arguments;

	diagnosis->findings = rqs_grow(diagnosis->findings, diagnosis->count + 1, sizeof(*diagnosis->findings));
	struct rqs_finding *finding = &diagnosis->findings[diagnosis->count++];
	va_start(arguments, format);
	*finding = (struct rqs_finding){.id = id, .level = level, .text = format_text(format, arguments)};
	va_end(arguments);
	if (level > diagnosis->worst)
		diagnosis->worst = level;
}

void rqs_prescribe(struct rqs_diagnosis *diagnosis, const char *format, ...)
{
	va_list arguments;

	if (!diagnosis->count)
		return;
	struct rqs_finding *finding = &diagnosis->findings[diagnosis->count - 1];
	free(finding->fix);
	va_start(arguments, format);
	finding->fix = format_text(format, arguments);
	va_end(arguments);
}

void rqs_diagnosis_take_bad(struct rqs_diagnosis *diagnosis, const struct rqs_diagnosis *from)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct rqs_finding *finding = &from->findings[i];

		if (finding->level < RQS_LEVEL_WARNING)
			continue;
		rqs_diagnose(diagnosis, finding->id, finding->level, "%s", finding->text);
		if (finding->fix)
			rqs_prescribe(diagnosis, "%s", finding->fix);
	}
}

void rqs_diagnosis_free(struct rqs_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->count; i++) {
		free(diagnosis->findings[i].text);
		free(diagnosis->findings[i].fix);
	}
	free(diagnosis->findings);
}

void rqs_diagnosis_print(const struct rqs_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->count; i++) {
		const struct rqs_finding *finding = &diagnosis->findings[i];

		printf("%-8s %s\n", levels[finding->level], finding->text);
		if (finding->fix)
			printf("%-8s %s\n", "  fix:", finding->fix);
	}
}

cJSON *rqs_diagnosis_json(const struct rqs_diagnosis *diagnosis)
{
	cJSON *findings = cJSON_CreateArray();

	for (size_t i = 0; i < diagnosis->count; i++) {
		const struct rqs_finding *finding = &diagnosis->findings[i];
		cJSON *object = cJSON_CreateObject();

		cJSON_AddStringToObject(object, "id", finding->id);
		cJSON_AddStringToObject(object, "level", levels[finding->level]);
		cJSON_AddStringToObject(object, "text", finding->text);
		if (finding->fix)
			cJSON_AddStringToObject(object, "fix", finding->fix);
		else
			cJSON_AddNullToObject(object, "fix");
		cJSON_AddItemToArray(findings, object);
	}
	return findings;
}
