/* options.c - common options, loading with complaints, and writing. */
#include "cmd/options.h"
#include "cmd/progress.h"
#include "render/escape.h"
#include "render/output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int rqs_usage_error(const struct rqs_command *command, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	rqs_complain("%s: %s; see `reqscope %s --help`", command->name, text, command->name);
	return RQS_EXIT_USAGE;
}

enum option_id {
	OPTION_FORMAT = 256,
	OPTION_SKIP,
	OPTION_FROM,
	OPTION_TO,
};

static const struct option common[] = {
    {"help", no_argument, NULL, 'h'},
    {"output", required_argument, NULL, 'o'},
    {"force", no_argument, NULL, 'f'},
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"skip", required_argument, NULL, OPTION_SKIP},
    {"from", required_argument, NULL, OPTION_FROM},
    {"to", required_argument, NULL, OPTION_TO},
};
#define COMMON (sizeof(common) / sizeof(common[0]))

static int take_moment(const struct rqs_command *command, struct rqs_moment *m, const char *name, const char *value)
{
	if (!strcmp(name, "--skip") ? rqs_seconds_parse(m, value) : rqs_moment_parse(m, value))
		return RQS_EXIT_OK;
	return rqs_usage_error(command, "%s takes seconds since the first arrival%s, not '%s'", name,
			       strcmp(name, "--skip") ? " or an RFC 3339 time" : "", value);
}

/* One option; RQS_EXIT_OK, or what a mistake costs. */
static int take_option(struct rqs_view_options *o, const struct rqs_command *command, int option)
{
	switch (option) {
	case 'o':
		o->output = optarg;
		return RQS_EXIT_OK;
	case 'f':
		o->force = true;
		return RQS_EXIT_OK;
	case OPTION_FORMAT:
		o->format = rqs_format_find(optarg);
		if (!o->format)
			return rqs_usage_error(command, "no format '%s' in this version; there are %s", optarg,
					       rqs_format_names());
		if (o->format->gates && command != &rqs_command_compare)
			return rqs_usage_error(command, "--format %s shows gates, which only compare has", optarg);
		return RQS_EXIT_OK;
	case OPTION_SKIP:
		return take_moment(command, &o->load.window.from, "--skip", optarg);
	case OPTION_FROM:
		return take_moment(command, &o->load.window.from, "--from", optarg);
	case OPTION_TO:
		return take_moment(command, &o->load.window.to, "--to", optarg);
	}
	return RQS_EXIT_USAGE;
}

bool rqs_view_options_parse(struct rqs_view_options *o, const struct rqs_command *command,
			    const struct rqs_own_options *own, int argc, char **argv)
{
	struct option all[RQS_OWN_OPTIONS_MAX + COMMON + 1] = {{0}};
	unsigned owned = 0;
	int option;

	for (; own && owned < RQS_OWN_OPTIONS_MAX && own->list[owned].name; owned++)
		all[owned] = own->list[owned];
	memcpy(all + owned, common, sizeof(common));
	memset(o, 0, sizeof(*o));
	o->format = rqs_format_find("text");
	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":ho:f", all, NULL)) != -1) {
		if (option == 'h') {
			rqs_print_usage(command);
			o->status = RQS_EXIT_OK;
			return false;
		}
		if (option == '?')
			o->status = rqs_usage_error(command, "unknown option '%s'", argv[optind - 1]);
		else if (option == ':')
			o->status = rqs_usage_error(command, "option '%s' needs a value", argv[optind - 1]);
		else if (option >= RQS_OWN_OPTION)
			o->status = own->take(own->context, option, optarg);
		else
			o->status = take_option(o, command, option);
		if (o->status)
			return false;
	}
	o->first = optind;
	return true;
}

void rqs_complain_of_file(const char *file, const char *format, ...)
{
	char what[512];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	char *name = rqs_clean(file), *text = rqs_clean(what);
	rqs_complain("%s: %s", name, text);
	free(name);
	free(text);
}

static void tell_damage(const struct rqs_trace *t)
{
	const struct rqs_scan *s = &t->scan;

	if (s->version)
		rqs_complain_of_file(t->file,
				     "offset %" PRIu64
				     ": a frame of format version %u, and this reqscope reads %u; use a "
				     "newer one. What comes before it is shown",
				     s->version_offset, s->version, RQS_TRACE_VERSION);
	else if (s->damages > 1)
		rqs_complain_of_file(t->file,
				     "offset %" PRIu64 ": %s; and %" PRIu64
				     " more damaged places (`reqscope info` lists "
				     "them). The readable part is shown",
				     s->first_damage.offset, s->first_damage.what, s->damages - 1);
	else
		rqs_complain_of_file(t->file, "offset %" PRIu64 ": %s. The readable part is shown",
				     s->first_damage.offset, s->first_damage.what);
}

/* One line for a trace that isn't whole; its part of the exit status. */
static int tell_state(const struct rqs_trace *t)
{
	if (t->fatal) {
		rqs_complain_of_file(t->file, "%s", t->fatal);
		return RQS_EXIT_USAGE;
	}
	if (t->result.damaged) {
		tell_damage(t);
		return RQS_EXIT_USAGE;
	}
	if (t->result.truncated)
		rqs_complain_of_file(t->file, "warning: no end frame; the recording was cut off or is still going on");
	return RQS_EXIT_OK;
}

int rqs_load_and_tell(struct rqs_traces *traces, char *const *files, unsigned count, struct rqs_view_options *options)
{
	struct rqs_progress_line line;
	int status = RQS_EXIT_OK;

	options->load.progress = rqs_progress_start(&line);
	options->load.progress_context = &line;
	rqs_traces_load(traces, files, count, &options->load);
	rqs_progress_end(&line);
	for (unsigned i = 0; i < count; i++) {
		int one = tell_state(&traces->trace[i]);

		status = one > status ? one : status;
	}
	return status;
}

bool rqs_anything_readable(const struct rqs_traces *traces)
{
	for (unsigned i = 0; i < traces->count; i++)
		if (!traces->trace[i].fatal)
			return true;
	return false;
}

int rqs_show(struct rqs_doc *doc, cJSON *json, const struct rqs_view_options *options, int status)
{
	struct rqs_rendering what = {.doc = doc, .json = json};
	char *problem = rqs_output(options->format, what, options->output, options->force);

	if (problem) {
		rqs_complain("%s", problem);
		status = RQS_EXIT_USAGE;
	}
	free(problem);
	rqs_doc_free(doc);
	cJSON_Delete(json);
	return status;
}
