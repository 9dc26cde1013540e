/* attach.c - see attach.h: which of the two ways it is, and what can't be attached to at all. */
#include "inject/attach.h"
#include "inject/go_version.h"
#include "inject/task.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(struct rqs_attachment *attachment, int error, const char *why)
{
	snprintf(attachment->why, sizeof(attachment->why), "%s", why);
	return error;
}

/*
 * As a child of vfork does until it executes a program: what is in the memory
 * is its parent's, whose threads know nothing of who stops the child. Where
 * the kernel can't be asked, it is taken for a process like others.
 */
static bool is_in_memory_of(pid_t pid, pid_t parent)
{
	return parent > 0 && syscall(SYS_kcmp, pid, parent, KCMP_VM, 0, 0) == 0;
}

static int look_at_state(struct rqs_attachment *attachment)
{
	pid_t pid = attachment->pid;

	switch (rqs_task_state(pid, pid)) {
	case 0:
		return fail(attachment, -ESRCH, "there is no such process");
	case 'Z':
	case 'X':
	case 'x':
		return fail(attachment, -ESRCH, "it has ended, and its parent hasn't taken note");
	default:
		return is_in_memory_of(pid, (pid_t)rqs_task_number(pid, pid, "PPid:", 10, 0))
			   ? fail(attachment, -ESRCH, "it runs in its parent's memory until it executes a program")
			   : 0;
	}
}

static int open_program(struct rqs_attachment *attachment)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)attachment->pid);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file >= 0)
		return file;
	if (errno == EACCES || errno == EPERM)
		return fail(attachment, -EPERM, "it belongs to somebody else");
	return fail(attachment, -ENOEXEC, "it has no program, as threads of the kernel");
}

static const struct rqs_attach_way *way_of(const struct rqs_attachment *attachment)
{
	return attachment->kind == RQS_ATTACH_GO ? &rqs_attach_go : &rqs_attach_library;
}

static int find_kind(struct rqs_attachment *attachment)
{
	struct rqs_image image;
	char version[32];
	int error = look_at_state(attachment), file = error ? error : open_program(attachment);

	if (file < 0)
		return file;
	error = rqs_image_open(&image, file);
	bool is_go = !error && rqs_go_version(&image, version, sizeof(version));
	rqs_image_close(&image);
	close(file);
	attachment->kind = is_go ? RQS_ATTACH_GO : RQS_ATTACH_LIBRARY;
	if (error)
		return fail(attachment, error < 0 ? error : -ENOEXEC, "its program can't be looked at");
	return 0;
}

int rqs_attach(struct rqs_attachment *attachment, const struct rqs_attach_order *order)
{
	*attachment = (struct rqs_attachment){.pid = order->pid};
	int error = find_kind(attachment);

	return error ? error : way_of(attachment)->attach(attachment, order);
}

int rqs_detach(struct rqs_attachment *attachment)
{
	attachment->why[0] = 0;
	attachment->stopped_ns = 0;
	return way_of(attachment)->detach(attachment);
}

int rqs_detach_found(struct rqs_attachment *attachment, pid_t pid)
{
	*attachment = (struct rqs_attachment){.pid = pid};
	int error = find_kind(attachment);

	if (error)
		return error == -ESRCH ? 0 : error;
	return way_of(attachment)->detach_found(attachment);
}
