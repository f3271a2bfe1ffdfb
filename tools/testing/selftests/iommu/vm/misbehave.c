// SPDX-License-Identifier: GPL-2.0-only
/*
 * misbehave HOW: a test that reports success and then does what a harness must
 * not let pass. "well" is the control: it does nothing.
 */
#include <fcntl.h>
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
	succeed();
	if (!strcmp(how, "warn"))
		put(CRASH, "WARNING");
	else if (!strcmp(how, "panic"))
		put("/proc/sysrq-trigger", "c");
	else if (!strcmp(how, "hang"))
		pause();
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
