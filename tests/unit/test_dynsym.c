/* test_dynsym.c - symbols of shared objects in memory, whole and damaged. */
#include "unit.h"

#include "inject/dynsym.h"

#include <fcntl.h>
#include <sys/auxv.h>
#include <unistd.h>

#define PAGE 4096u
#define VDSO_MAX 65536u
#define NAME "__vdso_clock_gettime"

static uint8_t vdso[VDSO_MAX];
static size_t vdso_size;

/* Read and not copied: how far it goes isn't known. */
static int read_vdso(void **state)
{
	int fd = open("/proc/self/mem", O_RDONLY);

	(void)state;
	while (vdso_size < VDSO_MAX &&
	       pread(fd, vdso + vdso_size, PAGE, (off_t)(getauxval(AT_SYSINFO_EHDR) + vdso_size)) == (ssize_t)PAGE)
		vdso_size += PAGE;
	close(fd);
	return vdso_size == 0;
}

static void the_kernels_clock_is_found(void **state)
{
	(void)state;
	assert_in_range(rqs_dynsym(vdso, vdso_size, NAME), 1, vdso_size);
	assert_int_equal(rqs_dynsym(vdso, vdso_size, "__vdso_clock_gettim"), 0);
	assert_int_equal(rqs_dynsym(vdso, vdso_size, NAME "s"), 0);
}

static void cut_at_any_byte(void **state)
{
	uint64_t whole = rqs_dynsym(vdso, vdso_size, NAME);

	(void)state;
	for (size_t size = 0; size < vdso_size; size += 7) {
		uint64_t found = rqs_dynsym(at_page_end(vdso, size), size, NAME);

		assert_true(found == 0 || found == whole);
	}
}

static void any_byte_of_its_tables_may_be_wrong(void **state)
{
	static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
	uint8_t *bytes = test_malloc(vdso_size);

	(void)state;
	memcpy(bytes, vdso, vdso_size);
	for (size_t at = 0; at < vdso_size; at++) {
		for (size_t i = 0; i < sizeof(values); i++) {
			bytes[at] = values[i];
			rqs_dynsym(bytes, vdso_size, NAME);
		}
		bytes[at] = vdso[at];
	}
	test_free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_kernels_clock_is_found),
	    cmocka_unit_test(cut_at_any_byte),
	    cmocka_unit_test(any_byte_of_its_tables_may_be_wrong),
	};

	return cmocka_run_group_tests(tests, read_vdso, NULL);
}
