/* privileges.c - see privileges.h. Source: capabilities(7), "Transformation of capabilities during execve()". */
#include "inject/privileges.h"

#include "os/sys.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Root gets by its exec all capabilities that it may have. Are these more than it has? */
static bool root_gets_more(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	int bounding;

	if (geteuid() && getuid())
		return false;
	if (rqs_sys2(SYS_capget, &header, data))
		return true;
	for (unsigned i = 0; i < 64 && (bounding = prctl(PR_CAPBSET_READ, i, 0, 0, 0)) >= 0; i++) {
		uint32_t bit = 1u << i % 32;

		if ((bounding || (data[i / 32].inheritable & bit)) && !(data[i / 32].permitted & bit))
			return true;
	}
	return false;
}

const char *rqs_privileges_raised(int file)
{
	struct stat about;

	if (fstat(file, &about) || (about.st_mode & (S_ISUID | S_ISGID)))
		return "it is set-user-ID or set-group-ID";
	if (fgetxattr(file, "security.capability", NULL, 0) > 0)
		return "its file has capabilities";
	if (root_gets_more())
		return "it is about to get capabilities that its starter lacks";
	return NULL;
}
