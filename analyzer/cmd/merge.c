/* merge.c - `reqscope merge`: one trace of many. */
#include "cmd/options.h"
#include "cmd/progress.h"
#include "merge/unite.h"
#include "render/output.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char usage[] =
    "usage: reqscope merge -o OUT [-f] FILE...\n"
    "\n"
    "One trace of many: of several hosts or servers at the same time, or of recordings one after\n"
    "another. Each request and sampled allocation stays what it was; times are put on the wall clock.\n"
    "\n"
    "  -o, --output OUT  write to the file OUT, which must not exist; without it to standard output\n"
    "  -f, --force       replace an existing OUT\n"
    "\n"
    "examples:\n"
    "  reqscope merge -o all.rqs host-*.rqs\n"
    "  reqscope report all.rqs\n"
    "\n"
    "A trace without an end frame makes one without an end frame. Of a damaged trace the readable part\n"
    "is taken, and the status is 2. A file that can't be read at all, that needs a newer reqscope, or a\n"
    "recording that is there twice: nothing is written.\n"
    "\n"
    "exit status: 0 good; 2 a mistake in the command, or a file that is unreadable or damaged.\n";

struct merging {
	const char *output;
	bool force;
	char **files;
	unsigned count;
	int status;
};

static const struct option options_long[] = {
    {"help", no_argument, NULL, 'h'},
    {"output", required_argument, NULL, 'o'},
    {"force", no_argument, NULL, 'f'},
    {0},
};

/* False: stop with m->status. */
static bool parse(struct merging *m, int argc, char **argv)
{
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":ho:f", options_long, NULL)) != -1) {
		switch (option) {
		case 'h':
			rqs_print_usage(&rqs_command_merge);
			return false;
		case 'o':
			m->output = optarg;
			break;
		case 'f':
			m->force = true;
			break;
		default:
			m->status = rqs_usage_error(&rqs_command_merge,
						    option == ':' ? "option '%s' needs a value" : "unknown option '%s'",
						    argv[optind - 1]);
			return false;
		}
	}
	m->files = argv + optind;
	m->count = (unsigned)(argc - optind);
	if (!m->count)
		m->status = rqs_usage_error(&rqs_command_merge, "which traces? Give at least one FILE");
	else if (!m->output && isatty(STDOUT_FILENO))
		m->status =
		    rqs_usage_error(&rqs_command_merge, "a trace is nothing for a terminal; give a file with -o");
	return !m->status;
}

/* Of one input; its part of the exit status. */
static int tell(const struct rqs_input *in)
{
	const struct rqs_scan *s = &in->scan;

	if (in->fatal) {
		rqs_complain_of_file(in->file, "%s", in->fatal);
		return RQS_EXIT_USAGE;
	}
	if (s->damages) {
		rqs_complain_of_file(in->file, "offset %" PRIu64 ": %s%s. The readable part is merged",
				     s->first_damage.offset, s->first_damage.what,
				     s->damages > 1 ? "; and more damaged places (`reqscope info` lists them)" : "");
		return RQS_EXIT_USAGE;
	}
	if (!s->end)
		rqs_complain_of_file(in->file, "warning: no end frame; the recording was cut off or is still going on");
	return RQS_EXIT_OK;
}

/* False: nothing can be written. */
static bool tell_all(struct merging *m, const struct rqs_inputs *inputs)
{
	bool usable = true;

	for (unsigned i = 0; i < inputs->count; i++) {
		int one = tell(&inputs->input[i]);

		m->status = one > m->status ? one : m->status;
		usable &= !inputs->input[i].fatal;
	}
	return usable;
}

/* All inputs are open at the same time. */
static void allow_many_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static bool write_merged(FILE *out, void *context)
{
	struct merging *m = context;
	struct rqs_progress_line line;
	struct rqs_inputs inputs;
	char *problem = NULL;

	allow_many_files();
	rqs_progress progress = rqs_progress_start(&line);
	rqs_inputs_open(&inputs, m->files, m->count, progress, &line);
	rqs_progress_end(&line);
	bool usable = tell_all(m, &inputs);
	if (usable)
		problem = rqs_unite(&inputs, dup(fileno(out)));
	rqs_progress_end(&line);
	rqs_inputs_close(&inputs);
	if (problem) {
		rqs_complain_of_file(m->output ? m->output : "standard output", "%s", problem);
		m->status = RQS_EXIT_USAGE;
		usable = false;
	}
	free(problem);
	return usable;
}

static int run_merge(int argc, char **argv)
{
	struct merging m = {0};

	if (!parse(&m, argc, argv))
		return m.status;
	char *problem = rqs_output_stream(m.output, m.force, 0600, write_merged, &m);
	if (problem) {
		rqs_complain("%s", problem);
		m.status = RQS_EXIT_USAGE;
	}
	free(problem);
	return m.status;
}

const struct rqs_command rqs_command_merge = {
    .name = "merge",
    .summary = "one trace of many",
    .usage = usage,
    .run = run_merge,
};
