/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files of the kernel that hold a few words. All return 0 or a negative errno.
 */
#ifndef _FILE_TEXT_H
#define _FILE_TEXT_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* @text is a string also where it fails. */
static inline int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
	int ret = got < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	text[got < 0 ? 0 : got] = '\0';
	return ret;
}

static inline int read_line(const char *path, char *text, size_t size)
{
	int ret = read_text(path, text, size);

	text[strcspn(text, "\n")] = '\0';
	return ret;
}

static inline int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	ssize_t len = strlen(text), put;
	int ret = 0;

	if (fd < 0)
		return -errno;
	put = write(fd, text, len);
	if (put != len)
		ret = put < 0 ? -errno : -EIO;
	close(fd);
	return ret;
}

#endif /* _FILE_TEXT_H */
