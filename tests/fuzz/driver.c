/*
 * driver.c - runs a fuzz target over the files and folders it is given,
 * without libFuzzer: the corpus as an ordinary regression test.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static unsigned runs;

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat st;

	if (!file || fstat(fileno(file), &st)) {
		fprintf(stderr, "driver: cannot read %s\n", path);
		exit(2);
	}
	/* Exactly as long as the input, so that a sanitizer or valgrind sees a byte read too far. */
	uint8_t *bytes = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!bytes || fread(bytes, 1, (size_t)st.st_size, file) != (size_t)st.st_size)
		exit(2);
	fclose(file);
	LLVMFuzzerTestOneInput(bytes, (size_t)st.st_size);
	free(bytes);
	runs++;
}

static void run(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	char inside[4096];

	if (!folder) {
		run_file(path);
		return;
	}
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.') {
			snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name);
			run_file(inside);
		}
	closedir(folder);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	printf("%u inputs\n", runs);
	return runs ? 0 : 1;
}
