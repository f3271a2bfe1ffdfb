// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first process of a test VM: runs the programs of a job, counts what they
 * print as TAP, writes it all to the host, and powers the machine off.
 *
 * The job is in /job: "nonce" (read once, then removed), "env" (NAME=VALUE
 * lines) and "list" (PROGRAM [ARGUMENT...] lines). The host reads the port
 * "results":
 *
 *	ready
 *	worked PIECES
 *	start PROGRAM ARGUMENT...
 *	line WHAT-IT-PRINTED
 *	end STATUS
 *	verdict nonce=N pass=N fail=N skip=N
 *
 * Only this process has the port open and only lines that begin with a word of
 * the list above are its own, so no program can write a verdict. The last line
 * is written after the leak scan, and nothing runs after it.
 *
 * This process has no clock: how long a second is depends on what the host
 * gives to the guest, so the host decides what takes too long. It says so on the
 * port "init":
 *
 *	go SLOWNESS	answers "ready" and "worked"
 *	alarm STEP	the test that runs is over its limit
 *	kill STEP	the program that runs is to end
 *
 * An order is for one step; "start", and a test's beginning and end, begin one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS	16
#define PIECES		2000	/* of the work that tells how fast this is */
#define LIMIT		"# limit "	/* what alarm() prints: see limit.c */
#define KSFT_SKIP	4
#define LEAKS		"/sys/kernel/debug/kmemleak"

struct tally {
	unsigned int pass, fail, skip;
	unsigned int plan;
	bool planned;
};

static struct tally total;
static int results = -1, orders = -1;
static unsigned int step;

static void report(const char *fmt, ...)
{
	char line[4096];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line) - 1, fmt, args);
	va_end(args);
	if (len > (int)sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	if (write(results, line, len) != len)
		perror("init: results");
}

static void power_off(void)
{
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void give_up(const char *what)
{
	printf("init: %s: %s\n", what, strerror(errno));
	power_off();
}

static void mount_all(void)
{
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
}

/* Names the virtio ports after what the host calls them: /dev/vm/NAME. */
static void link_ports(void)
{
	const char *class = "/sys/class/virtio-ports";
	char path[512], link[512], name[64];
	struct dirent *entry;
	FILE *file;
	DIR *dir;

	mkdir("/dev/vm", 0755);
	dir = opendir(class);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s/name", class,
			 entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%63s", name) == 1) {
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			snprintf(link, sizeof(link), "/dev/vm/%s", name);
			if (symlink(path, link))
				perror(link);
		}
		fclose(file);
	}
	if (dir)
		closedir(dir);
}

/* One line of a file, without its newline; false at the end. */
static bool next_line(FILE *file, char *line, size_t size)
{
	if (!file || !fgets(line, size, file))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return true;
}

static void read_environment(void)
{
	FILE *file = fopen("/job/env", "r");
	static char line[1024];

	while (next_line(file, line, sizeof(line)))
		putenv(strdup(line));
	if (file)
		fclose(file);
}

/* Modules that the job wants: paths in MODULES, separated by colons. */
static void load_modules(void)
{
	char *list = getenv("MODULES"), *path;
	int fd;

	for (path = list ? strtok(list, ":") : NULL; path;
	     path = strtok(NULL, ":")) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			give_up(path);
		close(fd);
	}
}

/* See boots_on_one_cpu() in harness/layout.py. */
static void start_cpus(void)
{
	glob_t found;
	size_t index;

	if (glob("/sys/devices/system/cpu/cpu[1-9]*/online", 0, NULL, &found))
		return;
	for (index = 0; index < found.gl_pathc; index++) {
		FILE *file = fopen(found.gl_pathv[index], "we");

		if (!file || fputs("1", file) < 0 || fclose(file))
			give_up(found.gl_pathv[index]);
	}
	globfree(&found);
}

/* The next order, once it is whole; @wait for it. */
static bool next_order(char *verb, unsigned int *number, bool wait)
{
	struct pollfd poll_fd = { .fd = orders, .events = POLLIN };
	static char text[64];
	static size_t used;
	char *newline;
	ssize_t got;
	bool whole;

	while (!(newline = memchr(text, '\n', used))) {
		if (poll(&poll_fd, 1, wait ? -1 : 0) <= 0)
			return false;
		if (used == sizeof(text))
			used = 0;
		got = read(orders, text + used, sizeof(text) - used);
		if (got <= 0)
			return false;
		used += got;
	}
	*newline++ = '\0';
	whole = sscanf(text, "%15s %u", verb, number) == 2;
	used -= newline - text;
	memmove(text, newline, used);
	return whole;
}

/* System calls that allocate, take locks, copy, and fault. */
static void do_piece(void)
{
	char *page, letter = 0;
	int ends[2];

	page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || pipe(ends))
		give_up("pipe");
	*page = 1;
	if (write(ends[1], page, 1) != 1 || read(ends[0], &letter, 1) != 1)
		give_up("pipe");
	close(ends[0]);
	close(ends[1]);
	munmap(page, getpagesize());
}

static unsigned int wait_go(void)
{
	unsigned int number;
	char verb[16];

	if (!next_order(verb, &number, true) || strcmp(verb, "go"))
		give_up("/dev/vm/init");
	return number;
}

/* Works while the host looks on; programs see how slow this guest is. */
static void measure(void)
{
	char slowness[16];
	int piece;

	report("ready");
	wait_go();
	for (piece = 0; piece < PIECES; piece++)
		do_piece();
	report("worked %u", PIECES);
	snprintf(slowness, sizeof(slowness), "%u", wait_go());
	setenv("SLOWNESS", slowness, 1);
}

static void read_nonce(char *nonce, size_t size)
{
	FILE *file = fopen("/job/nonce", "r");

	if (!next_line(file, nonce, size))
		give_up("/job/nonce");
	fclose(file);
	unlink("/job/nonce");
}

static void count_line(struct tally *tally, const char *line)
{
	unsigned int plan;

	if (sscanf(line, "1..%u", &plan) == 1) {
		tally->plan = plan;
		tally->planned = true;
	} else if (!strncmp(line, "not ok ", 7)) {
		tally->fail++;
	} else if (!strncmp(line, "ok ", 3)) {
		if (strcasestr(line, "# SKIP"))
			tally->skip++;
		else
			tally->pass++;
	}
}

struct lines {
	char text[4000];
	size_t used;
};

static void take_output(struct lines *lines, struct tally *tally, int fd)
{
	char *newline;
	ssize_t got;

	got = read(fd, lines->text + lines->used,
		   sizeof(lines->text) - lines->used - 1);
	if (got <= 0)
		return;
	lines->used += got;
	lines->text[lines->used] = '\0';
	while ((newline = strchr(lines->text, '\n')) ||
	       lines->used == sizeof(lines->text) - 1) {
		size_t len = lines->used;

		if (newline) {
			len = newline - lines->text + 1;
			*newline = '\0';
		}
		count_line(tally, lines->text);
		step += !strncmp(lines->text, LIMIT, strlen(LIMIT));
		report("line %s", lines->text);
		lines->used -= len;
		memmove(lines->text, lines->text + len, lines->used + 1);
	}
}

/* What the host wants to be done with a program; true if it is to end. */
static bool obey(pid_t pid)
{
	unsigned int number;
	char verb[16];

	if (!next_order(verb, &number, false) || number != step)
		return false;
	if (!strcmp(verb, "alarm"))
		kill(pid, SIGALRM);
	return !strcmp(verb, "kill");
}

/*
 * Reads the program's output until it ended or the host has had enough of it. A
 * process that it left behind does not hold the pipe open: it is killed.
 */
static int follow(pid_t pid, int fd, struct tally *tally)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	static struct lines lines;
	int status = -1;

	lines.used = 0;
	for (;;) {
		if (poll(&poll_fd, 1, 20) > 0 && poll_fd.revents & POLLIN) {
			take_output(&lines, tally, fd);
			continue;
		}
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		if (obey(pid))
			break;
	}
	if (status == -1)
		report("line # killed: it stood still");
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	while (poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & POLLIN)
		take_output(&lines, tally, fd);
	return status;
}

static pid_t spawn(char **argv, int *fd)
{
	int ends[2];
	pid_t pid;

	if (pipe(ends))
		give_up("pipe");
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (!pid) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		close(results);
		setsid();
		execv(argv[0], argv);
		printf("# %s: %s\n", argv[0], strerror(errno));
		fflush(stdout);
		_exit(127);
	}
	close(ends[1]);
	*fd = ends[0];
	return pid;
}

/* What is wrong with a program's run apart from the tests it says failed. */
static const char *find_fault(const struct tally *tally, int status)
{
	unsigned int all = tally->pass + tally->fail + tally->skip;

	if (status == -1)
		return "it was killed: it stood still";
	if (WIFSIGNALED(status))
		return "it was ended by a signal";
	if (!tally->planned)
		return "it printed no plan";
	if (tally->plan != all)
		return "its plan is not what it did";
	if (!WEXITSTATUS(status))
		return NULL;
	if (WEXITSTATUS(status) == KSFT_SKIP && tally->skip == all && all)
		return NULL;
	return tally->fail ? NULL : "it failed outside its tests";
}

static void run(char *line)
{
	char *argv[MAX_ARGS + 1] = { NULL };
	struct tally tally = { 0 };
	char path[128], *word;
	const char *fault;
	int argc = 0, status, fd;
	pid_t pid;

	step++;
	report("start %s", line);
	for (word = strtok(line, " "); word && argc < MAX_ARGS;
	     word = strtok(NULL, " "))
		argv[argc++] = word;
	if (!argc)
		return;
	snprintf(path, sizeof(path), "/bin/%s", argv[0]);
	argv[0] = path;
	pid = spawn(argv, &fd);
	status = follow(pid, fd, &tally);
	close(fd);
	fault = find_fault(&tally, status);
	if (fault) {
		report("line not ok 0 program_%s # %s", argv[0] + 5, fault);
		tally.fail++;
	}
	report("end %d", status);
	total.pass += tally.pass;
	total.fail += tally.fail;
	total.skip += tally.skip;
}

static void ask_leaks(const char *command)
{
	int fd = open(LEAKS, O_WRONLY);

	if (fd < 0 || write(fd, command, strlen(command)) < 0)
		give_up(LEAKS);
	close(fd);
}

/*
 * An object counts as leaked when two scans, five seconds after it was
 * allocated, saw no pointer to it and no change in it.
 */
static void scan_leaks(void)
{
	unsigned int leaks = 0;
	char line[512];
	FILE *file;

	if (access(LEAKS, F_OK))
		return;
	step++;
	report("start kmemleak");
	ask_leaks("scan");
	sleep(6);
	ask_leaks("scan");
	file = fopen(LEAKS, "r");
	if (!file)
		give_up(LEAKS);
	while (next_line(file, line, sizeof(line))) {
		leaks += !strncmp(line, "unreferenced object", 19);
		report("line # %s", line);
	}
	fclose(file);
	report("line 1..1");
	report("line %s 1 kmemleak # objects leaked: %u",
	       leaks ? "not ok" : "ok", leaks);
	report("end 0");
	if (leaks)
		total.fail++;
	else
		total.pass++;
}

int main(void)
{
	static char line[1024];
	char nonce[64];
	FILE *list;

	mount_all();
	link_ports();
	read_environment();
	start_cpus();
	load_modules();
	read_nonce(nonce, sizeof(nonce));
	results = open("/dev/vm/results", O_WRONLY | O_CLOEXEC);
	if (results < 0)
		give_up("/dev/vm/results");
	orders = open("/dev/vm/init", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (orders < 0)
		give_up("/dev/vm/init");
	measure();
	list = fopen("/job/list", "re");
	if (!list)
		give_up("/job/list");
	while (next_line(list, line, sizeof(line)))
		run(line);
	scan_leaks();
	report("verdict nonce=%s pass=%u fail=%u skip=%u", nonce, total.pass,
	       total.fail, total.skip);
	power_off();
}
