// SPDX-License-Identifier: GPL-2.0-only
/*
 * misbehave HOW: a test that reports success and then does what a harness must
 * not let pass. "well" is the control: it does nothing.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CRASH	"/sys/kernel/debug/provoke-crash/DIRECT"

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
	if (fd >= 0)
		close(fd);
}

static void succeed(void)
{
	puts("TAP version 13\n1..1\nok 1 misbehave");
	fflush(stdout);
}

/* What the host waits for, by every way that a program has. */
static void fake_verdict(void)
{
	static const char verdict[] =
		"verdict nonce=0 pass=1 fail=0 skip=0\n";

	fputs(verdict, stdout);
	fflush(stdout);
	put("/dev/console", verdict);
	put("/dev/vm/results", verdict);
	sleep(1);
	reboot(RB_POWER_OFF);
}

static void load_leak(void)
{
	int fd = open("/lib/kmemleak-test.ko", O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		perror("kmemleak-test.ko");
}

/* A command has no spaces in its words: '#' stands for one. */
static void say(char *text)
{
	char *c;

	for (c = text; *c; c++)
		if (*c == '#')
			*c = ' ';
	put("/dev/kmsg", text);
}

/* As kselftest_harness.h reports a test that is over its limit. */
static void over_limit(int signal)
{
	static const char text[] = "not ok 1 misbehave # over its limit\n";

	(void)signal;
	_exit(write(STDOUT_FILENO, text, strlen(text)) > 0);
}

static void hang_in_test(void)
{
	puts("TAP version 13\n1..1");
	fflush(stdout);
	signal(SIGALRM, over_limit);
	alarm(3);
	for (;;)
		pause();
}

static void loop(void)
{
	for (;;)
		asm volatile("");
}

/* Takes its time by itself: what a throttled guest has too little of. */
static void toil(void)
{
	unsigned long count;

	for (count = 0; count < 800000000; count++)
		asm volatile("");
	succeed();
}

/* Longer than it may be silent, but it is not. */
static void dawdle(void)
{
	int step;

	for (step = 0; step < 8; step++) {
		printf("# step %d\n", step);
		fflush(stdout);
		sleep(1);
	}
	succeed();
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	if (!strcmp(how, "skip")) {
		puts("TAP version 13\n1..1\nok 1 misbehave # SKIP on purpose");
		return 0;
	}
	if (!strcmp(how, "short")) {
		puts("TAP version 13\n1..2\nok 1 misbehave");
		return 0;
	}
	if (!strcmp(how, "lie")) {
		puts("TAP version 13\n1..1\nok 1 misbehave");
		return 1;
	}
	if (!strcmp(how, "limit"))
		hang_in_test();
	if (!strcmp(how, "dawdle")) {
		dawdle();
		return 0;
	}
	if (!strcmp(how, "toil")) {
		toil();
		return 0;
	}
	succeed();
	if (!strcmp(how, "warn"))
		put(CRASH, "WARNING");
	else if (!strcmp(how, "panic"))
		put("/proc/sysrq-trigger", "c");
	else if (!strcmp(how, "hang"))
		pause();
	else if (!strcmp(how, "loop"))
		loop();
	else if (!strcmp(how, "lockup"))
		put(CRASH, "HARDLOCKUP");
	else if (!strcmp(how, "fake"))
		fake_verdict();
	else if (!strcmp(how, "leave"))
		reboot(RB_POWER_OFF);
	else if (!strcmp(how, "leak"))
		load_leak();
	else if (!strcmp(how, "crash"))
		abort();
	else if (!strcmp(how, "say") && argc > 2)
		say(argv[2]);
	return 0;
}
