/* run_wait.c - from CMD's start to the end of it and of its recording. */
#include "cmd/command.h"
#include "cmd/run.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNAL_STATUS 128

/* Signals that mean something to a server when somebody sends them. */
static const int forwarded[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM, SIGUSR1,
				SIGUSR2, SIGALRM, SIGWINCH, SIGTTIN, SIGTTOU};
#define FORWARDED (sizeof(forwarded) / sizeof(forwarded[0]))

bool rqs_run_take_signals(struct run *run)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	for (size_t i = 0; i < FORWARDED; i++)
		sigaddset(&mask, forwarded[i]);
	sigaction(SIGCHLD, &standard, &run->old_child); /* ignored, it would reap our children for us */
	sigprocmask(SIG_BLOCK, &mask, &run->old_mask);
	run->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signals < 0)
		rqs_complain("run: signalfd: %s", strerror(errno));
	return run->signals >= 0;
}

void rqs_run_give_signals_back(const struct run *run)
{
	sigaction(SIGCHLD, &run->old_child, NULL);
	sigprocmask(SIG_SETMASK, &run->old_mask, NULL);
}

/* All that there are: the first process of a container gets orphans, too. */
static void reap_children(struct run *run)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == run->collector.pid)
			run->collector.pid = 0;
		if (pid != run->child)
			continue;
		run->child = 0;
		run->status = WIFSIGNALED(status) ? SIGNAL_STATUS + WTERMSIG(status) : WEXITSTATUS(status);
	}
}

/*
 * The terminal's signals have reached CMD already, by the process group; those
 * sent to us alone are passed on. False: with CMD gone, we're asked to go, too.
 */
static bool handle_signal(struct run *run, const struct signalfd_siginfo *info)
{
	bool sent = info->ssi_code == SI_USER || info->ssi_code == SI_QUEUE || info->ssi_code == SI_TKILL;

	if (info->ssi_signo == SIGCHLD) {
		reap_children(run);
		return true;
	}
	if (run->child) {
		if (sent && (pid_t)info->ssi_pid != run->child)
			kill(run->child, (int)info->ssi_signo);
		return true;
	}
	return info->ssi_signo != SIGINT && info->ssi_signo != SIGTERM && info->ssi_signo != SIGHUP &&
	       info->ssi_signo != SIGQUIT;
}

static bool handle_signals(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (!handle_signal(run, &info))
			return false;
	return true;
}

void rqs_run_wait(struct run *run)
{
	while (run->child || !run->reported) {
		struct pollfd fds[3] = {
		    {.fd = run->signals, .events = POLLIN},
		    {.fd = run->unhooked, .events = POLLIN},
		    {.fd = run->reported ? -1 : run->collector.report, .events = POLLIN},
		};

		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents && !handle_signals(run)) {
			rqs_complain("%s has ended; what it left behind is still being recorded in %s", run->command[0],
				     run->options.out);
			return;
		}
		if (fds[1].revents)
			rqs_run_read_unhooked(run);
		if (!run->reported && fds[2].revents)
			rqs_run_read_result(run);
	}
}
