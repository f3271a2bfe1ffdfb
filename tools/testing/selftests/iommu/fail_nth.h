/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The n-th allocation of a system call fails; see
 * Documentation/fault-injection/fault-injection.rst
 */
#ifndef _FAIL_NTH_H
#define _FAIL_NTH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* @fd: of /proc/thread-self/fail-nth. 0 for @nth turns it off. */
static inline void arm_failure(int fd, int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", nth);

	if (pwrite(fd, text, len, 0) != len)
		perror("fail-nth");
}

/* Was it used up? Turns it off. */
static inline bool failure_happened(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		perror("fail-nth");
	arm_failure(fd, 0);
	return *text && !atoi(text);
}

#endif /* _FAIL_NTH_H */
