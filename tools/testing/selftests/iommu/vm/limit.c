// SPDX-License-Identifier: GPL-2.0-only
/*
 * alarm() instead of the C library's, in programs that run in a test VM.
 *
 * kselftest_harness.h sets an alarm for each test, for as many seconds as the
 * test may take. How much gets done in a second is the host's affair, so init
 * is told, and through it the host, which counts time that is worth the same on
 * every machine (see harness/pace.py), and has SIGALRM sent when it is over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

unsigned int alarm(unsigned int seconds)
{
	struct itimerval timer = { .it_value.tv_sec = seconds }, old = { 0 };

	if (getenv("SLOWNESS")) {
		printf("# limit %u\n", seconds);
		fflush(stdout);
	} else {
		setitimer(ITIMER_REAL, &timer, &old);
	}
	return old.it_value.tv_sec;
}
