/* diagnosis.h - what the doctor has found, in the order in which it was found. */
#ifndef DOCTOR_DIAGNOSIS_H
#define DOCTOR_DIAGNOSIS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* From warning on something can't be recorded: a part of it, or no request at all. */
enum rqs_level { RQS_LEVEL_OK, RQS_LEVEL_INFO, RQS_LEVEL_WARNING, RQS_LEVEL_ERROR };

struct rqs_finding {
	const char *id; /* stable: "machine.ptrace" */
	enum rqs_level level;
	char *text; /* whole sentences */
	char *fix;  /* likewise; NULL: nothing to be done */
};

struct rqs_diagnosis {
	struct rqs_finding *findings;
	size_t count;
	enum rqs_level worst;
};

void rqs_diagnose(struct rqs_diagnosis *diagnosis, const char *id, enum rqs_level level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What can be done about the last finding. */
void rqs_prescribe(struct rqs_diagnosis *diagnosis, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Copies those findings by which something can't be recorded. */
void rqs_diagnosis_take_bad(struct rqs_diagnosis *diagnosis, const struct rqs_diagnosis *from);
void rqs_diagnosis_free(struct rqs_diagnosis *diagnosis);

void rqs_diagnosis_print(const struct rqs_diagnosis *diagnosis);
/* The array of findings. */
cJSON *rqs_diagnosis_json(const struct rqs_diagnosis *diagnosis);

#endif
