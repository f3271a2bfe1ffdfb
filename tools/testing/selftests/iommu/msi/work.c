// SPDX-License-Identifier: GPL-2.0-only
/* Work that makes devices interrupt, and shows that the data was right. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/if_alg.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "msi_lib.h"

#define CHUNK		(64 << 10)
#define FRAME_SIZE	256
/* An EtherType for experiments (IEEE 802). */
#define FRAME_TYPE	0x88b5

/* Finds what a class of devices calls the one at @bdf. */
static int find_below(const char *bdf, const char *pattern, char *name,
		      size_t size)
{
	char wanted[64], *target;
	int ret = -ENODEV;
	glob_t found;
	size_t index;

	snprintf(wanted, sizeof(wanted), "/%s/", bdf);
	if (glob(pattern, 0, NULL, &found))
		return ret;
	for (index = 0; ret && index < found.gl_pathc; index++) {
		target = realpath(found.gl_pathv[index], NULL);
		if (target && strstr(target, wanted)) {
			snprintf(name, size, "%s", strrchr(target, '/') + 1);
			ret = 0;
		}
		free(target);
	}
	globfree(&found);
	return ret;
}

int find_disk(const char *bdf, char *node, size_t size)
{
	int tries, ret = -ENODEV;
	char name[32];

	for (tries = patience(500); tries && ret; tries--) {
		ret = find_below(bdf, "/sys/block/*", name, sizeof(name));
		snprintf(node, size, "/dev/%s", name);
		if (!ret && !exists(node))
			ret = -ENOENT;
		if (ret)
			sleep_ms(20);
	}
	return ret;
}

static int hash_open(void)
{
	struct sockaddr_alg alg = { .salg_family = AF_ALG,
		.salg_type = "hash", .salg_name = "sha256" };
	int base = socket(AF_ALG, SOCK_SEQPACKET, 0), fd = -1;

	if (base >= 0 && !bind(base, (struct sockaddr *)&alg, sizeof(alg)))
		fd = accept(base, NULL, 0);
	if (base >= 0)
		close(base);
	return fd;
}

static int hash_equal(int hash, const char *wanted)
{
	unsigned char digest[32];
	char text[65];
	int index;

	if (recv(hash, digest, sizeof(digest), 0) != sizeof(digest))
		return -EIO;
	for (index = 0; index < 32; index++)
		sprintf(text + 2 * index, "%02x", digest[index]);
	return strcmp(text, wanted) ? -EILSEQ : 0;
}

static int hash_disk(int disk, const char *wanted, void *buffer)
{
	int hash = hash_open(), ret = 0;
	ssize_t got;

	if (hash < 0)
		return -errno;
	while ((got = read(disk, buffer, CHUNK)) > 0)
		if (send(hash, buffer, got, MSG_MORE) != got)
			ret = -EIO;
	if (got < 0)
		ret = -errno;
	if (!ret)
		ret = hash_equal(hash, wanted);
	close(hash);
	return ret;
}

int read_disk(const char *bdf, int passes)
{
	const char *wanted = getenv("DISK_SHA256");
	char node[64];
	int ret, fd;
	void *buffer;

	ret = find_disk(bdf, node, sizeof(node));
	if (ret || !wanted)
		return ret ?: -EINVAL;
	if (posix_memalign(&buffer, 4096, CHUNK))
		return -ENOMEM;
	while (passes-- && !ret) {
		fd = open(node, O_RDONLY | O_DIRECT);
		if (fd < 0)
			ret = -errno;
		else
			ret = hash_disk(fd, wanted, buffer);
		close(fd);
	}
	free(buffer);
	return ret;
}

int find_netdev(const char *bdf, char *name, size_t size)
{
	return find_below(bdf, "/sys/class/net/*", name, size);
}

static int bring_up(const char *name)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	char path[128], state[16] = "";
	int tries, ret = 0;

	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		ret = -errno;
	request.ifr_flags |= IFF_UP | IFF_PROMISC;
	if (!ret && ioctl(fd, SIOCSIFFLAGS, &request))
		ret = -errno;
	close(fd);
	snprintf(path, sizeof(path), "/sys/class/net/%s/carrier", name);
	for (tries = patience(500); !ret && tries && *state != '1'; tries--) {
		if (read_line(path, state, sizeof(state)) || *state != '1')
			sleep_ms(20);
	}
	return ret ?: *state == '1' ? 0 : -ENOLINK;
}

/* A raw socket on the card at @bdf. */
static int open_card(const char *bdf)
{
	struct timeval wait = { .tv_sec = patience(3) };
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(FRAME_TYPE) };
	char name[IFNAMSIZ];
	int fd, ret;

	ret = find_netdev(bdf, name, sizeof(name)) ?: bring_up(name);
	if (ret)
		return ret;
	fd = socket(AF_PACKET, SOCK_RAW, htons(FRAME_TYPE));
	if (fd < 0)
		return -errno;
	addr.sll_ifindex = if_nametoindex(name);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

static void fill_frame(unsigned char *frame, int number)
{
	struct ethhdr *header = (struct ethhdr *)frame;
	int index;

	memset(header->h_dest, 0xff, ETH_ALEN);
	memset(header->h_source, 2, ETH_ALEN);
	header->h_proto = htons(FRAME_TYPE);
	for (index = sizeof(*header); index < FRAME_SIZE; index++)
		frame[index] = index * 7 + number * 13 + (number >> 8);
}

/* Sends a frame and waits until the other card has it, unchanged. */
static int exchange_one(int to, int from, int number)
{
	unsigned char sent[FRAME_SIZE], got[2048];
	ssize_t len;

	fill_frame(sent, number);
	if (send(from, sent, sizeof(sent), 0) != sizeof(sent))
		return -errno;
	do {
		len = recv(to, got, sizeof(got), 0);
		if (len < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
	} while (len != sizeof(sent) || memcmp(sent, got, len));
	return 0;
}

int exchange_frames(const char *to_bdf, const char *from_bdf, int count)
{
	int to = open_card(to_bdf), from = open_card(from_bdf), number, ret;

	ret = to < 0 ? to : from < 0 ? from : 0;
	for (number = 0; !ret && number < count; number++)
		ret = exchange_one(to, from, number);
	if (to >= 0)
		close(to);
	if (from >= 0)
		close(from);
	return ret;
}

/* Random bytes, all zero only if nobody wrote them. */
static int read_random(void)
{
	unsigned char bytes[64] = { 0 };
	unsigned int any = 0;
	size_t index;
	int fd;

	fd = open("/dev/hwrng", O_RDONLY);
	if (fd < 0)
		return -errno;
	if (read(fd, bytes, sizeof(bytes)) <= 0)
		any = 0;
	close(fd);
	for (index = 0; index < sizeof(bytes); index++)
		any |= bytes[index];
	return any ? 0 : -EIO;
}

/* Some bytes are there before one asks: reads until the device interrupts. */
int read_rng(const char *bdf)
{
	unsigned long before = device_irq_count(bdf);
	int tries, ret;

	for (tries = 0; tries < 50; tries++) {
		ret = read_random();
		if (ret || device_irq_count(bdf) > before)
			return ret;
		sleep_ms(tries);
	}
	return -ETIMEDOUT;
}

int work(const char *name)
{
	const char *bdf = role(name);

	if (!bdf)
		return -ENODEV;
	if (!strcmp(name, "e1000e"))
		return exchange_frames(bdf, role("vnet"), 100);
	if (!strcmp(name, "vnet"))
		return exchange_frames(bdf, role("e1000e"), 100);
	if (!strcmp(name, "rng"))
		return read_rng(bdf);
	return read_disk(bdf, 1);
}
