/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * cost <name>...	processor time, in ticks of the cycle counter, that threads whose name begins with one of these have used
 *
 * The kernel counts ticks and tells microseconds by the frequency it believes in, which need not be right in an emulator;
 * with the same frequency they are ticks again.
 */
#include <sys/param.h>
#include <sys/sysctl.h>
#include <sys/user.h>

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
main(int argc, char **argv)
{
	int mib[] = { CTL_KERN, KERN_PROC, KERN_PROC_ALL };	/* an entry for each thread */
	struct kinfo_proc *list;
	uint64_t frequency, total = 0;
	size_t size = sizeof(frequency);

	if (sysctlbyname("machdep.tsc_freq", &frequency, &size, NULL, 0) == -1)
		err(1, "machdep.tsc_freq");
	size = 0;

	if (sysctl(mib, 3, NULL, &size, NULL, 0) == -1)
		err(1, "sysctl");
	size += size / 4;
	list = malloc(size);
	if (list == NULL || sysctl(mib, 3, list, &size, NULL, 0) == -1)
		err(1, "sysctl");
	for (size_t i = 0; i < size / sizeof(*list); i++)
		for (int a = 1; a < argc; a++)
			if (strncmp(list[i].ki_tdname, argv[a], strlen(argv[a])) == 0 ||
			    strncmp(list[i].ki_comm, argv[a], strlen(argv[a])) == 0) {
				total += list[i].ki_runtime;
				break;
			}
	printf("%ju\n", (uintmax_t)((double)total * (double)frequency / 1e6));
	return (0);
}
