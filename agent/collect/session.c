/*
 * session.c - the collector's main loop.
 *
 * One thread, woken by greetings, by deaths (pidfds) and by the clock: a pass
 * over the region every 10 ms under load, every 100 ms when idle, and at once
 * where samples fill chunks.
 */
#include "collect/session.h"
#include "collect/background.h"
#include "collect/frames.h"
#include "collect/lifetime.h"
#include "collect/node_version.h"
#include "collect/procfs.h"
#include "collect/sampler.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ull
#define CHECK_NS (100 * MS)
#define PASS_FULL_NS (1 * MS)
#define PASS_BUSY_NS (10 * MS)
#define PASS_LIGHT_NS (20 * MS)
#define PASS_IDLE_NS (100 * MS)
#define BUSY_RECORDS 1000
#define FULL_PART 64 /* of the chunks: so many held records */
/* From telling the agents to stop until what they were about to commit is there. */
#define SETTLE_NS (30 * MS)
#define SCAN_AGAIN_NS (1000 * MS)
#define EVENTS 64
/* Tag of the epoll event that asks for the end. */
#define TAG_STOP (5ull << 32)

struct session {
	const struct rqs_session_options *options;
	struct rqs_region region;
	struct rqs_calibration clock;
	struct rqs_greeting greeting;
	struct rqs_processes processes;
	struct rqs_drain drain;
	struct rqs_sampler sampler;
	struct rqs_frames frames;
	struct rqs_lifetime lifetime;
	char file[PATH_MAX];
	int epoll;
	uint64_t generation, scan_until_ns, next_scan_ns;
	uint64_t next_check_ns;
	uint32_t versions; /* noted processes whose version was looked for */
	uint64_t pass_ns;  /* the present pause between passes */
	bool stopping;     /* somebody has asked for the end */
};

static const char *const modes[] = {
    [RQS_SESSION_RUN] = "run",
    [RQS_SESSION_PRELOAD] = "preload",
    [RQS_SESSION_ATTACH] = "attach",
};

/* Setting up */

bool rqs_parse_mode(const char *text, enum rqs_session_mode *mode)
{
	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(text, modes[i])) {
			*mode = (enum rqs_session_mode)i;
			return true;
		}
	return false;
}

bool rqs_parse_duration(const char *text, uint64_t *ns)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 1e-3) || seconds > 315576000)
		return false;
	*ns = (uint64_t)(seconds * 1e9);
	return true;
}

#define SAMPLE_BYTES_MIN (4ull << 10)
#define SAMPLE_BYTES_MAX (1ull << 30)

bool rqs_parse_sample_bytes(const char *text, uint64_t *bytes)
{
	char *end;
	unsigned long long number = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;

	if (!number || number > SAMPLE_BYTES_MAX)
		return false;
	if (*end == 'K' || *end == 'M')
		number <<= *end++ == 'K' ? 10 : 20;
	if (*end || number < SAMPLE_BYTES_MIN || number > SAMPLE_BYTES_MAX)
		return false;
	*bytes = number;
	return true;
}

static int fail(const struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says on the ready descriptor, or else on standard error, why there is no session. */
static int fail(const struct session *s, const char *format, ...)
{
	char text[PATH_MAX + 256];
	va_list arguments;
	int fd = s->options->ready_fd;

	va_start(arguments, format);
	int length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (length >= (int)sizeof(text))
		length = (int)sizeof(text) - 1;
	if (fd < 0) {
		fprintf(stderr, "reqscope: %s\n", text);
	} else if (write(fd, text, (size_t)length) != length) {
		/* Nobody listens. */
	}
	return 1;
}

static void tell_ready(const struct session *s)
{
	if (s->options->ready_fd < 0)
		return;
	if (write(s->options->ready_fd, "", 1) != 1) {
		/* Nobody listens. */
	}
	close(s->options->ready_fd);
}

static bool is_preload(const struct session *s)
{
	return s->options->mode == RQS_SESSION_PRELOAD;
}

/* out.rqs -> out.PID.rqs */
static void name_after_pid(const struct session *s, char *name, size_t size)
{
	const char *out = s->options->out;
	size_t length = strlen(out);

	if (length > 4 && !strcmp(out + length - 4, ".rqs"))
		length -= 4;
	snprintf(name, size, "%.*s.%d.rqs", (int)length, out, (int)s->options->pid);
}

static int open_trace(struct session *s)
{
	if (s->options->out)
		snprintf(s->file, sizeof(s->file), "%s", s->options->out);
	else
		snprintf(s->file, sizeof(s->file), "reqscope.%d.rqs", (int)s->options->pid);

	int error = rqs_writer_open(&s->frames.writer, s->file, s->options->force);
	/* Nobody is there to be told: an earlier trace is left alone. */
	if (error == -EEXIST && is_preload(s) && s->options->out) {
		name_after_pid(s, s->file, sizeof(s->file));
		error = rqs_writer_open(&s->frames.writer, s->file, false);
	}
	return error;
}

static int start_memory(struct session *s)
{
	int error = rqs_region_create(&s->region);

	if (error)
		return error;
	rqs_calibration_start(&s->clock);
	s->region.header->clock = s->clock.clock;
	s->region.header->ticks_per_second = rqs_calibration_ticks_per_second(&s->clock);
	s->region.header->sample_bytes = s->options->sample_bytes;
	error = rqs_processes_init(&s->processes, &s->region, &s->clock, s->epoll);
	if (!error)
		error = rqs_frames_init(&s->frames, &s->processes, &s->drain);
	if (!error && s->options->sample_bytes)
		error = rqs_frames_sites_start(&s->frames, s->options->sample_bytes);
	return error ? error : rqs_drain_init(&s->drain);
}

static int write_run(struct session *s)
{
	const struct rqs_session_options *o = s->options;
	size_t length = 0;
	char *command = o->command ? NULL : rqs_procfs_command(s->lifetime.dir, &length);

	struct rqs_run_facts facts = {
	    .mode = modes[o->mode],
	    .label = o->label,
	    .command = o->command,
	    .command_count = o->command_count,
	    .command_text = command,
	    .command_length = length,
	    .start_monotonic_ns = rqs_monotonic_ns(),
	    .start_realtime_ns = rqs_realtime_ns(),
	    .clock = s->clock.clock,
	    .duration_ns = o->duration_ns,
	    .sample_bytes = o->sample_bytes,
	};
	int error = rqs_frames_run(&s->frames, &facts);
	free(command);
	return error;
}

/* The loop */

/* Every claim takes a generation number first; a claim may come a moment after its number. */
static void look_for_processes(struct session *s, uint64_t now_ns)
{
	uint64_t generation = __atomic_load_n(&s->region.header->next_generation, __ATOMIC_ACQUIRE);

	if (generation != s->generation) {
		s->generation = generation;
		s->scan_until_ns = now_ns + SCAN_AGAIN_NS;
	}
	if (now_ns > s->scan_until_ns && now_ns < s->next_scan_ns)
		return;
	s->next_scan_ns = now_ns + SCAN_AGAIN_NS;
	rqs_processes_scan(&s->processes, now_ns);
}

/* The agent can't ask Node for its version; the executable tells, while its process lives. */
static void name_versions(struct session *s)
{
	for (; s->versions < s->processes.noted_count; s->versions++) {
		struct rqs_watched *watched = s->processes.noted[s->versions];

		if (watched->runtime == RQS_RUNTIME_NODE && !watched->version[0])
			rqs_node_version(watched->procdir, watched->version, sizeof(watched->version));
	}
}

static void check(struct session *s, uint64_t now_ns)
{
	if (now_ns < s->next_check_ns)
		return;
	s->next_check_ns = now_ns + CHECK_NS;
	rqs_calibration_refresh(&s->clock);
	rqs_steps_look(&s->drain.steps);
	rqs_processes_check(&s->processes);
	rqs_drain_dead_threads(&s->drain);
	rqs_greeting_expire(&s->greeting, now_ns);
}

static void pass(struct session *s, uint64_t now_ns)
{
	look_for_processes(s, now_ns);
	rqs_processes_refresh(&s->processes, now_ns);
	rqs_drain_beat(&s->drain);
	name_versions(s);
	rqs_go_settle(&s->greeting.go, &s->processes, now_ns);
	size_t records = rqs_drain_records(&s->drain);
	check(s, now_ns);
	rqs_drain_dying(&s->drain);
	rqs_sample(&s->sampler, &s->processes, &s->frames.samples, now_ns, rqs_frames_samples, &s->frames);
	rqs_lifetime_check(&s->lifetime, now_ns);
	rqs_frames_flush(&s->frames, now_ns);
	if (s->drain.chunks_read >= RQS_CHUNKS / FULL_PART)
		s->pass_ns = PASS_FULL_NS;
	else if (records)
		s->pass_ns = records >= BUSY_RECORDS ? PASS_BUSY_NS : PASS_LIGHT_NS;
	else
		s->pass_ns = s->pass_ns * 2 < PASS_IDLE_NS ? s->pass_ns * 2 : PASS_IDLE_NS;
}

static void handle(struct session *s, uint64_t tag)
{
	struct rqs_watched *watched;

	switch (tag >> 32) {
	case RQS_TAG_PROCESS >> 32:
		watched = s->processes.by_slot[(uint32_t)tag % RQS_PROCESSES];
		if (watched)
			watched->dying = true;
		break;
	case RQS_TAG_MAIN >> 32:
		rqs_lifetime_event(&s->lifetime);
		break;
	case TAG_STOP >> 32:
		s->stopping |= rqs_attached_hear(&s->frames.troubles.attached, s->options->stop_fd);
		break;
	default:
		rqs_greeting_event(&s->greeting, tag, s->region.fd, s->region.size);
	}
}

static void wait_until(struct session *s, uint64_t due_ns)
{
	uint64_t now_ns = rqs_monotonic_ns();
	int timeout = due_ns > now_ns ? (int)((due_ns - now_ns + MS - 1) / MS) : 0;
	struct epoll_event events[EVENTS];
	int count = epoll_wait(s->epoll, events, EVENTS, timeout);

	if (count < 0 && errno != EINTR) { /* can't be; but then we must neither spin nor go deaf to the end */
		struct timespec pause = {0, PASS_LIGHT_NS};

		nanosleep(&pause, NULL);
	}
	for (int i = 0; i < count; i++)
		handle(s, events[i].data.u64);
}

/* When it is to end by itself; UINT64_MAX: never. An attached one begins when the hooks are in. */
static uint64_t last_ns(const struct session *s, uint64_t start_ns)
{
	if (s->options->stop_fd >= 0)
		start_ns = s->frames.troubles.attached.begun_ns;
	return s->options->duration_ns && start_ns ? start_ns + s->options->duration_ns : UINT64_MAX;
}

/* Until the end of the session; returns why it ended. */
static const char *record(struct session *s)
{
	uint64_t start_ns = rqs_monotonic_ns(), due_ns = start_ns, now_ns;

	s->pass_ns = PASS_LIGHT_NS;
	for (;;) {
		wait_until(s, due_ns);
		now_ns = rqs_monotonic_ns();
		pass(s, now_ns);
		if (now_ns >= last_ns(s, start_ns))
			return "duration";
		if (s->stopping)
			return s->lifetime.gone && !s->processes.live ? "exited" : "detached";
		if (rqs_lifetime_is_over(&s->lifetime, &s->processes, &s->greeting, now_ns))
			return s->processes.live ? "idle" : "exited";
		due_ns = now_ns + s->pass_ns;
		if (due_ns > last_ns(s, start_ns))
			due_ns = last_ns(s, start_ns);
	}
}

/* The end */

/* Agents see the state at their next request, and switch themselves off. */
static void stop_agents(struct session *s)
{
	struct timespec settle = {0, SETTLE_NS};

	__atomic_store_n(&s->region.header->state, RQS_STOPPED, __ATOMIC_RELEASE);
	if (s->processes.live)
		nanosleep(&settle, NULL);
}

static int write_end(struct session *s, const char *reason)
{
	uint64_t now_ns = rqs_monotonic_ns();

	look_for_processes(s, now_ns);
	rqs_processes_refresh(&s->processes, now_ns);
	rqs_drain_records(&s->drain);
	rqs_drain_dying(&s->drain);
	if (s->options->stop_fd >= 0)
		rqs_attached_finish(&s->frames.troubles.attached, s->options->stop_fd);
	return rqs_frames_end(&s->frames, now_ns, reason);
}

static void report(struct session *s, const char *reason, bool ended)
{
	struct rqs_session_report report = {
	    .completeness = rqs_completeness_sum(&s->processes),
	    .troubles = s->frames.troubles,
	    .registered = s->processes.registered,
	    .serving = s->processes.noted_count,
	    .refused = s->greeting.refused,
	    .unplaced = s->frames.troubles.unplaced,
	    .bytes = s->frames.writer.length,
	    .ended = ended,
	};
	struct timespec cpu;

	if (s->options->report_fd < 0)
		return;
	report.troubles.write_error = s->frames.writer.error;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	report.cpu_ns = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
	snprintf(report.reason, sizeof(report.reason), "%s", reason);
	snprintf(report.file, sizeof(report.file), "%s", s->file);
	if (write(s->options->report_fd, &report, sizeof(report)) != (ssize_t)sizeof(report)) {
		/* `run` was killed. */
	}
}

/* Only a trace of our own making: not /dev/null, and nobody else's file. */
static void remove_trace(struct session *s)
{
	struct stat stat;

	if (!fstat(s->frames.writer.fd, &stat) && S_ISREG(stat.st_mode))
		unlink(s->file);
}

static int start_trace(struct session *s)
{
	int error = open_trace(s);

	if (error == -EEXIST)
		return fail(s, "%s exists already; -f replaces it", s->file);
	if (error)
		return fail(s, "%s: %s", s->file, strerror(-error));
	error = write_run(s);
	if (error) {
		remove_trace(s);
		return fail(s, "%s: %s", s->file, strerror(-error));
	}
	return 0;
}

static int expect_stop(struct session *s)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG_STOP};

	if (s->options->stop_fd >= 0 && epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->options->stop_fd, &event))
		return fail(s, "descriptor %d can't be waited for: %s", s->options->stop_fd, strerror(errno));
	return 0;
}

static int start(struct session *s)
{
	int error = start_memory(s);

	if (error)
		return fail(s, "no shared memory: %s", strerror(-error));
	rqs_lifetime_start(&s->lifetime, s->options->pid, s->options->token, s->epoll);
	return expect_stop(s) ? 1 : start_trace(s);
}

static void free_session(struct session *s)
{
	rqs_frames_free(&s->frames);
	rqs_drain_free(&s->drain);
	rqs_processes_free(&s->processes);
	rqs_region_destroy(&s->region);
	free(s);
}

/* From the bound address to the end frame. */
static int live(struct session *s)
{
	int status = start(s);

	if (status)
		return status;
	tell_ready(s);
	rqs_let_go_of_terminal();
	const char *reason = record(s);
	rqs_greeting_close(&s->greeting);
	stop_agents(s);
	int error = write_end(s, reason);
	/* Started for a Go program, before it was known to serve: as `ls` leaves no trace, it doesn't. */
	if (is_preload(s) && !s->processes.noted_count && !s->frames.troubles.unplaced)
		remove_trace(s);
	report(s, reason, !error);
	free_session(s);
	return error ? 1 : 0;
}

/* Under preload, two processes of a session may start a collector at the same time: the address decides. */
static int yield_to_other(const struct session *s)
{
	struct timespec moment = {0, 5 * MS}; /* the other may be between bind and listen */

	if (!is_preload(s))
		return fail(s, "the session has a collector already");
	nanosleep(&moment, NULL);
	tell_ready(s);
	return 0;
}

int rqs_session_run(const struct rqs_session_options *options)
{
	struct rqs_session_options own = *options;
	int *const keep[] = {&own.ready_fd, &own.report_fd, &own.stop_fd};
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return 1;
	if (own.mode != RQS_SESSION_ATTACH)
		own.stop_fd = -1;
	rqs_go_to_background(own.detach, keep, sizeof(keep) / sizeof(keep[0]));
	s->options = &own;
	s->frames.troubles.attached.pid = own.mode == RQS_SESSION_ATTACH ? (uint32_t)own.pid : 0;
	s->drain.region = &s->region;
	s->drain.clock = &s->clock;
	s->drain.processes = &s->processes;
	s->drain.requests = &s->frames.requests;
	s->drain.full = rqs_frames_requests;
	s->drain.context = &s->frames;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return fail(s, "epoll: %s", strerror(errno));

	int error = rqs_greeting_open(&s->greeting, own.token, s->epoll);
	if (error == -EADDRINUSE)
		return yield_to_other(s);
	if (error)
		return fail(s, "no socket: %s", strerror(-error));
	return live(s);
}
