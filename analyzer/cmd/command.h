/*
 * command.h - what a command of the program is, and the list of them.
 *
 * One more command is one more file and one line in RQS_COMMAND_LIST.
 */
#ifndef REQSCOPE_COMMAND_H
#define REQSCOPE_COMMAND_H

struct rqs_command {
	const char *name;
	const char *summary; /* for `reqscope --help`; NULL hides the command there */
	const char *usage;   /* the whole --help text of the command, with examples */
	/* argv[0] is the command's name. Returns the exit status. */
	int (*run)(int argc, char **argv);
};

/* X(symbol): defines extern const struct rqs_command rqs_command_<symbol>. In the order that --help shows. */
#define RQS_COMMAND_LIST(X) \
	X(run)              \
	X(attach)           \
	X(report)           \
	X(compare)          \
	X(info)             \
	X(export)           \
	X(merge)            \
	X(doctor)           \
	X(collect)          \
	X(show_plan)        \
	X(patches)          \
	X(place)            \
	X(trace_exec)       \
	X(attach_keeper)

#define RQS_DECLARE_COMMAND(symbol) extern const struct rqs_command rqs_command_##symbol;
RQS_COMMAND_LIST(RQS_DECLARE_COMMAND)
#undef RQS_DECLARE_COMMAND

enum rqs_exit {
	RQS_EXIT_OK = 0,
	RQS_EXIT_GATE = 1,
	RQS_EXIT_USAGE = 2, /* bad command line, unreadable or damaged input */
	RQS_EXIT_RUN_FAILED = 125, /* `run` itself failed, or `attach` */
};

/* One line on standard error, "reqscope: ...". */
void rqs_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints a command's usage: on stdout for --help. */
void rqs_print_usage(const struct rqs_command *command);

#endif
