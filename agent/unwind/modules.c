/* modules.c - see modules.h. */
#include "unwind/modules.h"

#include "inject/mappings.h"
#include "inject/room.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define OBJECTS 4096u
#define SPANS 65536u
#define AGAIN_NS 50000000ull  /* between two looks for unknown addresses */
#define OLD_NS 10000000000ull /* something else may lie at known ones */
#define OVERLAY 0x794c7630

/* ---- opening ---- */

/* By way of a descriptor that does nothing to what it names: that may be a device. */
static int open_named(int named)
{
	struct stat status;
	char path[64];

	if (named < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", named);
	int fd = !fstat(named, &status) && S_ISREG(status.st_mode) ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
	close(named);
	return fd;
}

static int name_below(int root, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

	return root < 0 ? -1 : (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

int rqs_open_below(int root, const char *path)
{
	return open_named(name_below(root, path));
}

/* Overlay file systems show files of other numbers than the kernel tells of mappings. */
static bool is_mapped_one(const struct rqs_object *object, int named)
{
	struct stat status;
	struct statfs system;

	if (named < 0 || fstat(named, &status))
		return false;
	return status.st_ino == object->inode || (!fstatfs(named, &system) && system.f_type == OVERLAY);
}

static int name_if_mapped(const struct rqs_object *object, int named)
{
	if (named >= 0 && !is_mapped_one(object, named)) {
		close(named);
		return -1;
	}
	return named;
}

/* The mapping's own entry needs privileges; a path may have become that of another file. */
static int open_object(const struct rqs_modules *modules, const struct rqs_object *object, const struct rqs_span *span)
{
	char name[64];

	snprintf(name, sizeof(name), "map_files/%lx-%lx", span->start, span->end);
	int named = modules->procdir >= 0 ? openat(modules->procdir, name, O_PATH | O_CLOEXEC) : -1;
	if (object->deleted)
		return open_named(name_if_mapped(object, named));
	if (named < 0 || !is_mapped_one(object, named)) {
		if (named >= 0)
			close(named);
		named = name_if_mapped(object, name_below(modules->root, object->path));
	}
	if (named < 0)
		named = name_if_mapped(object, open(object->path, O_PATH | O_CLOEXEC));
	return open_named(named);
}

struct rqs_object *rqs_modules_object(struct rqs_modules *modules, const struct rqs_span *span)
{
	struct rqs_object *object = span->object ? &modules->objects[span->object - 1] : NULL;

	if (object && !object->sought) {
		object->sought = true;
		int fd = object->inode ? open_object(modules, object, span) : -1;
		if (fd >= 0)
			object->file = rqs_code_file_get(fd);
		else if (!object->inode)
			object->file = rqs_code_file_vdso();
	}
	return object;
}

bool rqs_modules_linked(struct rqs_modules *modules, const struct rqs_span *span, uint64_t address, uint64_t *linked)
{
	const struct rqs_object *object = rqs_modules_object(modules, span);
	uint64_t bias;

	if (!object || !object->file || !rqs_code_file_bias(object->file, span->start, span->offset, &bias))
		return false;
	*linked = address - bias;
	return true;
}

/* ---- looking ---- */

static void name_object(struct rqs_modules *modules, struct rqs_object *object, const char *path)
{
	static const char gone[] = " (deleted)";
	size_t length = strlen(path), end = sizeof(gone) - 1;

	object->deleted = length > end && !strcmp(path + length - end, gone);
	object->path = rqs_texts_keep_part(modules->texts, path, object->deleted ? length - end : length);
	const char *slash = strrchr(object->path, '/');
	object->name = rqs_texts_keep(modules->texts, slash ? slash + 1 : object->path);
	length = strlen(object->name);
	object->ours =
	    !strncmp(object->name, "libreqscope", 11) && length > 3 && !strcmp(object->name + length - 3, ".so");
}

/* Most often that of the mapping before. */
static uint32_t object_of(struct rqs_modules *modules, const struct rqs_mapping *mapping)
{
	if (!mapping->inode && strcmp(mapping->path, "[vdso]"))
		return 0;
	for (size_t i = modules->object_count; i-- > 0;)
		if (modules->objects[i].inode == mapping->inode && modules->objects[i].device == mapping->device)
			return (uint32_t)i + 1;
	if (modules->object_count >= OBJECTS || !rqs_make_room((void **)&modules->objects, &modules->object_room,
							       modules->object_count, sizeof(*modules->objects)))
		return 0;
	struct rqs_object *object = &modules->objects[modules->object_count++];
	*object = (struct rqs_object){.device = mapping->device, .inode = mapping->inode};
	name_object(modules, object, mapping->path);
	return (uint32_t)modules->object_count;
}

static bool note_span(const struct rqs_mapping *mapping, void *context)
{
	struct rqs_modules *modules = context;
	uint32_t object = object_of(modules, mapping);

	if (!object && !mapping->executable)
		return false;
	if (modules->span_count >= SPANS || !rqs_make_room((void **)&modules->spans, &modules->span_room,
							   modules->span_count, sizeof(*modules->spans)))
		return true;
	modules->spans[modules->span_count++] =
	    (struct rqs_span){mapping->start, mapping->end, mapping->offset, mapping->executable, object};
	return false;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A process that has ended has nothing mapped; what is known of it stays. */
static void look(struct rqs_modules *modules)
{
	struct rqs_modules old = *modules;
	int maps = modules->procdir >= 0 ? openat(modules->procdir, "maps", O_RDONLY | O_CLOEXEC) : -1;

	modules->looked_ns = now_ns();
	if (maps < 0)
		return;
	modules->spans = NULL;
	modules->span_count = modules->span_room = 0;
	rqs_each_mapping_in(maps, note_span, modules);
	close(maps);
	if (!modules->span_count) {
		modules->spans = old.spans;
		modules->span_count = old.span_count;
		modules->span_room = old.span_room;
		return;
	}
	if (modules->span_count != old.span_count ||
	    memcmp(modules->spans, old.spans, old.span_count * sizeof(*old.spans)))
		modules->looks++;
	free(old.spans);
}

void rqs_modules_init(struct rqs_modules *modules, int procdir, struct rqs_texts *texts)
{
	*modules = (struct rqs_modules){.procdir = procdir, .root = -1, .texts = texts};
	if (procdir >= 0)
		modules->root = openat(procdir, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	look(modules);
}

void rqs_modules_free(struct rqs_modules *modules)
{
	for (size_t i = 0; i < modules->object_count; i++)
		rqs_code_file_put(modules->objects[i].file);
	free(modules->objects);
	free(modules->spans);
	if (modules->root >= 0)
		close(modules->root);
}

void rqs_modules_refresh(struct rqs_modules *modules)
{
	if (now_ns() - modules->looked_ns > OLD_NS)
		look(modules);
}

const struct rqs_span *rqs_modules_at(const struct rqs_modules *modules, uint64_t address)
{
	size_t low = 0, high = modules->span_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (modules->spans[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < modules->span_count && modules->spans[low].start <= address ? &modules->spans[low] : NULL;
}

const struct rqs_span *rqs_modules_code(struct rqs_modules *modules, uint64_t address)
{
	const struct rqs_span *span = rqs_modules_at(modules, address);

	if ((!span || !span->executable) && now_ns() - modules->looked_ns > AGAIN_NS) {
		look(modules);
		span = rqs_modules_at(modules, address);
	}
	return span && span->executable ? span : NULL;
}
