/* descendants.c - see descendants.h. One pass over /proc, then parents are followed to children. */
#include "cmd/descendants.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct list {
	struct rqs_seen_process *all;
	size_t count, room;
};

/* From the third field on: the name before them may hold spaces and parentheses. */
static bool parse(struct rqs_seen_process *seen, const char *text)
{
	const char *name = strchr(text, '('), *end = strrchr(text, ')');
	uint64_t code = 0, stack = 0;

	if (!name || !end)
		return false;
	snprintf(seen->name, sizeof(seen->name), "%.*s", (int)(end - name - 1), name + 1);
	int got = sscanf(end + 1,
			 " %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64
			 " %*s %*s %*s %" SCNu64 " %*s %" SCNu64,
			 &seen->state, &seen->parent, &seen->start, &code, &stack);
	/* The kernel places both anew at an exec. */
	seen->image = code ^ stack << 20;
	return got >= 3;
}

bool rqs_process_see(pid_t pid, struct rqs_seen_process *seen)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (length <= 0)
		return false;
	text[length] = 0;
	seen->pid = pid;
	return parse(seen, text);
}

bool rqs_process_has_ended(const struct rqs_seen_process *seen)
{
	return seen->state == 'Z' || seen->state == 'X';
}

static bool add(struct list *list, pid_t pid)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 256;
		struct rqs_seen_process *all = realloc(list->all, room * sizeof(*all));

		if (!all)
			return false;
		list->all = all;
		list->room = room;
	}
	if (rqs_process_see(pid, &list->all[list->count]) && !rqs_process_has_ended(&list->all[list->count]))
		list->count++;
	return true;
}

static bool see_all(struct list *list)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	bool ok = proc != NULL;

	while (ok && (entry = readdir(proc)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			ok = add(list, (pid_t)atoi(entry->d_name));
	if (proc)
		closedir(proc);
	return ok;
}

static void swap(struct rqs_seen_process *a, struct rqs_seen_process *b)
{
	struct rqs_seen_process kept = *a;

	*a = *b;
	*b = kept;
}

/* Moves who belongs to the family to the front. Its size. */
static size_t gather(struct list *list, pid_t pid)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count && !count; i++)
		if (list->all[i].pid == pid)
			swap(&list->all[count++], &list->all[i]);
	for (size_t done = 0; done < count; done++)
		for (size_t i = count; i < list->count; i++)
			if (list->all[i].parent == list->all[done].pid)
				swap(&list->all[count++], &list->all[i]);
	return count;
}

struct rqs_seen_process *rqs_descendants(pid_t pid, size_t *count)
{
	struct list list = {0};

	*count = 0;
	if (!see_all(&list)) {
		free(list.all);
		return NULL;
	}
	*count = gather(&list, pid);
	return list.all;
}
