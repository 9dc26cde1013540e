/*
 * options.h - the options that the analyzer's commands have in common, and
 * the way from files to traces that can be shown.
 */
#ifndef REQSCOPE_OPTIONS_H
#define REQSCOPE_OPTIONS_H

#include "cmd/command.h"
#include "model/trace.h"
#include "render/formats.h"

#include <getopt.h>

struct rqs_view_options {
	const struct rqs_format *format;
	const char *output; /* NULL: standard output */
	bool force;
	struct rqs_load_options load;
	int first;  /* index in argv of the first argument that isn't an option */
	int status; /* when parsing says stop: the exit status */
};

#define RQS_OWN_OPTION 512 /* a command's own options have values from here on */
#define RQS_OWN_OPTIONS_MAX 16

/* A command's own options, or NULL where there are none; one of a common one's name stands in its place. */
struct rqs_own_options {
	const struct option *list; /* ends with a zeroed one; at most RQS_OWN_OPTIONS_MAX */
	/* RQS_EXIT_OK, or what a mistake costs, once told. */
	int (*take)(void *context, int option, const char *argument);
	void *context;
};

/* False: stop with options->status; --help was printed or the mistake told. */
bool rqs_view_options_parse(struct rqs_view_options *options, const struct rqs_command *command,
			    const struct rqs_own_options *own, int argc, char **argv);
/* "see `reqscope X --help`", after a complaint. Returns RQS_EXIT_USAGE. */
int rqs_usage_error(const struct rqs_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "reqscope: FILE: ..." on standard error, fit for a terminal. */
void rqs_complain_of_file(const char *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Loads with progress, and tells of each trace that can't be read, is damaged or truncated. Returns the exit status so
 * far. */
int rqs_load_and_tell(struct rqs_traces *traces, char *const *files, unsigned count, struct rqs_view_options *options);
bool rqs_anything_readable(const struct rqs_traces *traces);
/* Writes doc or JSON, whichever the format needs; the other may be NULL. Frees both. Returns the exit status: `status`,
 * or worse. */
int rqs_show(struct rqs_doc *doc, cJSON *json, const struct rqs_view_options *options, int status);

#endif
