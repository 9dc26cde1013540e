/*
 * unwinder.c - what rqs_code_frames() makes of samples, for tests:
 *    unwinder PID RUNTIME [ROUNDS] < samples
 * The samples are struct rqs_sample_record, one behind the other. Each frame is a line:
 *    ADDRESS KIND INLINED LINE MODULE FILE FUNCTION, separated by tabs, "-" none
 * and an empty line ends each stack. With ROUNDS it unwinds them all so often, the
 * first time with nothing known, and tells microseconds a stack of each round instead.
 */
#include "unwind/code.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct rqs_code_frame frames[RQS_CODE_FRAMES];

static const char *text(const char *value)
{
	return value ? value : "-";
}

static void print(size_t count)
{
	for (size_t i = 0; i < count; i++)
		printf("0x%lx\t%d\t%d\t%u\t%s\t%s\t%s\n", frames[i].address, frames[i].kind, frames[i].inlined,
		       frames[i].line, text(frames[i].module), text(frames[i].file), frames[i].function);
	printf("\n");
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void measure(struct rqs_code *code, struct rqs_sample_record **samples, size_t count, int rounds)
{
	for (int round = 0; round < rounds; round++) {
		double start = now_us();

		for (size_t i = 0; i < count; i++)
			rqs_code_frames(code, samples[i], frames);
		printf("%.1f\n", (now_us() - start) / (double)(count ? count : 1));
	}
}

static struct rqs_sample_record *read_sample(void)
{
	struct rqs_sample_record head;

	if (fread(&head, sizeof(head), 1, stdin) != 1 || head.size < sizeof(head))
		return NULL;
	struct rqs_sample_record *sample = malloc(head.size);
	if (!sample)
		return NULL;
	memcpy(sample, &head, sizeof(head));
	if (fread(sample + 1, head.size - sizeof(head), 1, stdin) != 1 ||
	    head.size < sizeof(head) + head.frame_count * sizeof(*head.frames) + head.stack_bytes) {
		free(sample);
		return NULL;
	}
	return sample;
}

int main(int argc, char **argv)
{
	static struct rqs_sample_record *samples[4096];
	size_t count = 0;
	char path[64];

	if (argc < 3)
		return 2;
	snprintf(path, sizeof(path), "/proc/%s", argv[1]);
	int procdir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct rqs_code *code = rqs_code_new(procdir, (uint32_t)atoi(argv[2]));
	if (!code)
		return 1;
	while (count < 4096 && (samples[count] = read_sample()))
		count++;
	if (argc > 3)
		measure(code, samples, count, atoi(argv[3]));
	for (size_t i = 0; i < count; i++) {
		if (argc == 3)
			print(rqs_code_frames(code, samples[i], frames));
		free(samples[i]);
	}
	rqs_code_free(code);
	return 0;
}
