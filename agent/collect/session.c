/*
 * session.c - the collector's main loop.
 *
 * One thread, woken by greetings, by deaths (pidfds) and by the clock: a pass
 * over the region every 10 ms under load, every 100 ms when idle.
 */
#include "collect/session.h"
#include "collect/background.h"
#include "collect/drain.h"
#include "collect/greet.h"
#include "collect/kin.h"
#include "collect/node_version.h"
#include "collect/procfs.h"
#include "collect/sample.h"
#include "collect/writer.h"

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
#define FLUSH_NS (900 * MS) /* with the longest pause between passes: a frame a second */
#define PASS_BUSY_NS (10 * MS)
#define PASS_LIGHT_NS (20 * MS)
#define PASS_IDLE_NS (100 * MS)
#define BUSY_RECORDS 1000
/* After the last sign of serving: a daemon's child may be about to join. */
#define GRACE_NS (300 * MS)
/* The most when nobody has served yet, but somebody may: a server that went to the background before it listens. */
#define STARTUP_GRACE_NS (10000 * MS)
/* From telling the agents to stop until what they were about to commit is there. */
#define SETTLE_NS (30 * MS)
#define SCAN_AGAIN_NS (1000 * MS)
#define TAG_MAIN (4ull << 32)
#define EVENTS 64

struct session {
	const struct rqs_session_options *options;
	struct rqs_region region;
	struct rqs_calibration clock;
	struct rqs_greeting greeting;
	struct rqs_processes processes;
	struct rqs_drain drain;
	struct rqs_batch requests, samples;
	struct rqs_encoder encoder;
	struct rqs_sampler sampler;
	struct rqs_writer writer;
	struct rqs_troubles troubles;
	struct rqs_run_facts facts;
	char file[PATH_MAX];
	int epoll;
	int main_pidfd;
	int main_dir;
	bool main_gone;
	uint64_t main_gone_ns;
	uint64_t quiet_ns; /* since when nobody serves; 0: somebody does */
	uint64_t welcomed; /* greetings seen when that began */
	uint64_t next_kin_ns;
	uint64_t generation, scan_until_ns, next_scan_ns;
	uint64_t next_check_ns, next_flush_ns, next_totals_ns;
	uint32_t versions; /* noted processes whose version was looked for */
	uint64_t pass_ns;  /* the present pause between passes */
	struct {
		struct rqs_completeness sum;
		uint64_t accepted;
		uint32_t noted;
		int write_error;
	} told; /* what the last totals frame said */
};

/* Setting up */

bool rqs_parse_duration(const char *text, uint64_t *ns)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 1e-3) || seconds > 315576000)
		return false;
	*ns = (uint64_t)(seconds * 1e9);
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

	int error = rqs_writer_open(&s->writer, s->file, s->options->force);
	/* Nobody is there to be told: an earlier trace is left alone. */
	if (error == -EEXIST && s->options->preload && s->options->out) {
		name_after_pid(s, s->file, sizeof(s->file));
		error = rqs_writer_open(&s->writer, s->file, false);
	}
	return error;
}

static void watch_main(struct session *s)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG_MAIN};
	pid_t pid = s->options->pid;

	s->main_dir = rqs_procfs_open(pid);
	s->main_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (s->main_pidfd >= 0)
		epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->main_pidfd, &event);
	else
		s->main_gone = errno == ESRCH;
}

static int start_memory(struct session *s)
{
	int error = rqs_region_create(&s->region);

	if (error)
		return error;
	rqs_calibration_start(&s->clock);
	s->region.header->clock = s->clock.clock;
	s->region.header->ticks_per_second = rqs_calibration_ticks_per_second(&s->clock);
	rqs_encoder_init(&s->encoder);
	error = rqs_processes_init(&s->processes, &s->region, &s->clock, s->epoll);
	if (!error)
		error = rqs_batch_init(&s->requests, &rqs_batch_requests);
	if (!error)
		error = rqs_batch_init(&s->samples, &rqs_batch_samples);
	return error ? error : rqs_drain_init(&s->drain);
}

static int write_text(struct session *s, enum rqs_frame_type type, uint64_t time_ns, char *text)
{
	int error = text ? rqs_writer_append(&s->writer, type, time_ns, time_ns, text, strlen(text)) : -ENOMEM;

	free(text);
	return error;
}

static int write_run(struct session *s)
{
	const struct rqs_session_options *o = s->options;
	size_t length = 0;
	char *command = o->command ? NULL : rqs_procfs_command(s->main_dir, &length);

	s->facts = (struct rqs_run_facts){
	    .mode = o->preload ? "preload" : "run",
	    .label = o->label,
	    .command = o->command,
	    .command_count = o->command_count,
	    .command_text = command,
	    .command_length = length,
	    .start_monotonic_ns = rqs_monotonic_ns(),
	    .start_realtime_ns = rqs_realtime_ns(),
	    .clock = s->clock.clock,
	    .duration_ns = o->duration_ns,
	};
	int error = write_text(s, RQS_FRAME_RUN, s->facts.start_monotonic_ns, rqs_payload_run(&s->facts));
	free(command);
	return error;
}

/* Writing */

/* The agent can't ask Node for its version; the executable tells, while its process lives. */
static void name_versions(struct session *s)
{
	for (; s->versions < s->processes.noted_count; s->versions++) {
		struct rqs_watched *watched = s->processes.noted[s->versions];

		if (watched->runtime == RQS_RUNTIME_NODE && !watched->version[0])
			rqs_node_version(watched->procdir, watched->version, sizeof(watched->version));
	}
}

/* Process frames come before the rows that name them. They wait for the first rows: what runs is known then. */
static int write_processes(struct session *s)
{
	for (uint32_t i = 0; i < s->processes.noted_count; i++) {
		struct rqs_watched *watched = s->processes.noted[i];
		int error;

		if (watched->framed)
			continue;
		error = write_text(s, RQS_FRAME_PROCESS, watched->start_ns, rqs_payload_process(watched));
		if (error)
			return error;
		watched->framed = true;
	}
	return 0;
}

static int write_batch(struct session *s, struct rqs_batch *batch)
{
	uint64_t first, last;
	int error = write_processes(s);

	if (!error)
		error = rqs_batch_encode(batch, &s->encoder, &first, &last);
	if (!error)
		error =
		    rqs_writer_append(&s->writer, batch->kind->frame, first, last, s->encoder.bytes, s->encoder.length);
	if (error && !s->writer.error)
		s->writer.error = -error;
	return error;
}

/* Requests that can't be written were completed and not recorded: dropped. */
static void count_lost(struct session *s)
{
	const struct rqs_request_row *rows = (const struct rqs_request_row *)s->requests.rows;

	for (uint32_t i = 0; i < s->requests.count; i++) {
		struct rqs_watched *watched = s->processes.noted[rows[i].process];

		watched->lost++;
		if (rows[i].alloc_count == RQS_NULL)
			continue;
		watched->record_alloc_count -= rows[i].alloc_count;
		watched->record_alloc_bytes -= rows[i].alloc_bytes;
	}
	s->troubles.rows_lost += s->requests.count;
}

static void flush_requests(void *context)
{
	struct session *s = context;

	if (!s->requests.count)
		return;
	if (write_batch(s, &s->requests))
		count_lost(s);
	rqs_batch_clear(&s->requests);
}

static void flush_samples(void *context)
{
	struct session *s = context;

	if (s->samples.count)
		write_batch(s, &s->samples);
	rqs_batch_clear(&s->samples);
}

static void gather_troubles(struct session *s)
{
	s->troubles.lost_processes = __atomic_load_n(&s->region.header->lost_processes, __ATOMIC_RELAXED);
	s->troubles.malformed_records = s->drain.malformed_records;
	s->troubles.broken_chunks = s->drain.broken_chunks;
	s->troubles.write_error = s->writer.error;
}

static bool totals_changed(struct session *s)
{
	struct rqs_completeness sum = rqs_completeness_sum(&s->processes);
	uint64_t accepted = 0;

	for (uint32_t i = 0; i < s->processes.noted_count; i++)
		accepted += s->processes.noted[i]->accepted;
	if (!memcmp(&sum, &s->told.sum, sizeof(sum)) && accepted == s->told.accepted &&
	    s->told.noted == s->processes.noted_count && s->told.write_error == s->writer.error)
		return false;
	s->told.sum = sum;
	s->told.accepted = accepted;
	s->told.noted = s->processes.noted_count;
	s->told.write_error = s->writer.error;
	return true;
}

static void write_totals(struct session *s, uint64_t now_ns)
{
	if (now_ns < s->next_totals_ns)
		return;
	/* A long list of processes, most of them ended, isn't told every second. */
	s->next_totals_ns = now_ns + FLUSH_NS + s->processes.noted_count / 256 * FLUSH_NS;
	rqs_drain_survey(&s->drain);
	gather_troubles(s);
	if (!totals_changed(s))
		return;
	if (write_text(s, RQS_FRAME_TOTALS, now_ns, rqs_payload_totals(&s->processes, &s->troubles, now_ns, NULL)))
		s->told.noted = UINT32_MAX; /* to be told again */
}

static void flush(struct session *s, uint64_t now_ns)
{
	if (now_ns < s->next_flush_ns)
		return;
	s->next_flush_ns = now_ns + FLUSH_NS;
	write_processes(s);
	flush_requests(s);
	flush_samples(s);
	write_totals(s, now_ns);
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

static void check_main(struct session *s, uint64_t now_ns)
{
	struct rqs_procfs_stat stat;

	if (!s->main_gone && s->main_pidfd < 0)
		s->main_gone = s->main_dir >= 0 ? !rqs_procfs_stat(s->main_dir, &stat) || stat.state == 'Z'
						: kill(s->options->pid, 0) && errno == ESRCH;
	if (s->main_gone && !s->main_gone_ns)
		s->main_gone_ns = now_ns;
}

static void check(struct session *s, uint64_t now_ns)
{
	if (now_ns < s->next_check_ns)
		return;
	s->next_check_ns = now_ns + CHECK_NS;
	rqs_calibration_refresh(&s->clock);
	rqs_processes_check(&s->processes);
	rqs_drain_dead_threads(&s->drain);
	rqs_greeting_expire(&s->greeting, now_ns);
}

static void pass(struct session *s, uint64_t now_ns)
{
	look_for_processes(s, now_ns);
	rqs_processes_refresh(&s->processes, now_ns);
	__atomic_store_n(&s->region.header->heartbeat, rqs_calibration_ticks(&s->clock), __ATOMIC_RELAXED);
	name_versions(s);
	size_t records = rqs_drain_records(&s->drain);
	check(s, now_ns);
	rqs_drain_dying(&s->drain);
	rqs_sample(&s->sampler, &s->processes, &s->samples, now_ns, flush_samples, s);
	check_main(s, now_ns);
	flush(s, now_ns);
	if (records)
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
	case TAG_MAIN >> 32:
		s->main_gone = true;
		epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->main_pidfd, NULL);
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

/* Whether somebody, though CMD has gone and nobody has served, may be about to. Looked into now and then. */
static bool may_still_start(struct session *s, uint64_t now_ns)
{
	if (s->processes.served || now_ns - s->main_gone_ns > STARTUP_GRACE_NS)
		return false;
	if (now_ns < s->next_kin_ns)
		return true;
	s->next_kin_ns = now_ns + GRACE_NS;
	return rqs_kin_alive(s->options->token);
}

/* Whether nobody of the session can get requests any more, and that for long enough. */
static bool is_over(struct session *s, uint64_t now_ns)
{
	bool foreign = rqs_greeting_foreign_alive(&s->greeting);

	if (!s->main_gone || rqs_processes_serving(&s->processes, foreign)) {
		s->quiet_ns = 0;
		return false;
	}
	if (may_still_start(s, now_ns))
		return false;
	if (!s->quiet_ns || s->welcomed != s->greeting.welcomed) {
		s->quiet_ns = now_ns;
		s->welcomed = s->greeting.welcomed;
	}
	return !s->greeting.welcomed || now_ns - s->quiet_ns >= GRACE_NS;
}

/* Until the end of the session; returns why it ended. */
static const char *record(struct session *s)
{
	uint64_t start_ns = rqs_monotonic_ns(), due_ns = start_ns, now_ns;

	s->pass_ns = PASS_LIGHT_NS;
	s->next_flush_ns = s->next_totals_ns = start_ns + FLUSH_NS;
	for (;;) {
		wait_until(s, due_ns);
		now_ns = rqs_monotonic_ns();
		pass(s, now_ns);
		if (s->options->duration_ns && now_ns - start_ns >= s->options->duration_ns)
			return "duration";
		if (is_over(s, now_ns))
			return s->processes.live ? "idle" : "exited";
		due_ns = now_ns + s->pass_ns;
		if (s->options->duration_ns && due_ns > start_ns + s->options->duration_ns)
			due_ns = start_ns + s->options->duration_ns;
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
	write_processes(s);
	flush_requests(s);
	flush_samples(s);
	rqs_drain_survey(&s->drain);
	gather_troubles(s);
	return write_text(s, RQS_FRAME_END, now_ns, rqs_payload_totals(&s->processes, &s->troubles, now_ns, reason));
}

static void report(struct session *s, const char *reason, bool ended)
{
	struct rqs_session_report report = {
	    .completeness = rqs_completeness_sum(&s->processes),
	    .troubles = s->troubles,
	    .registered = s->processes.registered,
	    .serving = s->processes.noted_count,
	    .refused = s->greeting.refused,
	    .bytes = s->writer.length,
	    .ended = ended,
	};
	struct timespec cpu;

	if (s->options->report_fd < 0)
		return;
	report.troubles.write_error = s->writer.error;
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

	if (!fstat(s->writer.fd, &stat) && S_ISREG(stat.st_mode))
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

static int start(struct session *s)
{
	int error = start_memory(s);

	if (error)
		return fail(s, "no shared memory: %s", strerror(-error));
	watch_main(s);
	return start_trace(s);
}

static void free_session(struct session *s)
{
	rqs_writer_close(&s->writer);
	rqs_drain_free(&s->drain);
	rqs_batch_free(&s->requests);
	rqs_batch_free(&s->samples);
	rqs_encoder_free(&s->encoder);
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
	report(s, reason, !error);
	free_session(s);
	return error ? 1 : 0;
}

/* Under preload, two processes of a session may start a collector at the same time: the address decides. */
static int yield_to_other(const struct session *s)
{
	struct timespec moment = {0, 5 * MS}; /* the other may be between bind and listen */

	if (!s->options->preload)
		return fail(s, "the session has a collector already");
	nanosleep(&moment, NULL);
	tell_ready(s);
	return 0;
}

int rqs_session_run(const struct rqs_session_options *options)
{
	struct rqs_session_options own = *options;
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return 1;
	rqs_go_to_background(own.detach, &own.ready_fd, &own.report_fd);
	s->options = &own;
	s->drain.region = &s->region;
	s->drain.clock = &s->clock;
	s->drain.processes = &s->processes;
	s->drain.requests = &s->requests;
	s->drain.full = flush_requests;
	s->drain.context = s;
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
