/*
 * Writes down every program start on a lab host.
 *
 * Named in the hosts' /etc/ld.so.preload, so the dynamic loader brings it into every dynamically linked
 * program, also into those with the setuid bit. The constructor appends one line to a file that the lab
 * keeps outside the host's root file system:
 *
 *     seconds.nanoseconds TAB pid TAB argument TAB argument ... NEWLINE
 *
 * Backslash, tab and newline inside an argument are escaped. One write() with O_APPEND per start: lines of
 * programs that start at the same moment never mix. It must never make a program fail, so every error ends
 * in silence, and errno is left as it was. LAB_SILENT in the environment keeps the lab's own errands out.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef RECORD
#define RECORD "/var/log/lab-record/executions"
#endif

static size_t escape(char *to, const char *from)
{
    size_t length = 0;

    for (; *from; from++) {
        char letter = *from == '\\' ? '\\' : *from == '\n' ? 'n' : *from == '\t' ? 't' : 0;

        if (letter) {
            to[length++] = '\\';
            to[length++] = letter;
        } else {
            to[length++] = *from;
        }
    }
    return length;
}

static void append(int argc, char **argv, char **envp)
{
    struct timespec now;
    size_t room = 64, length;
    char *line;
    int file, i;

    for (i = 0; envp && envp[i]; i++)
        if (!strncmp(envp[i], "LAB_SILENT=", 11))
            return;
    file = open(RECORD, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
    if (file < 0)
        return;
    for (i = 0; i < argc && argv[i]; i++)
        room += 2 * strlen(argv[i]) + 1;
    line = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (line != MAP_FAILED) {
        clock_gettime(CLOCK_REALTIME, &now);
        length = (size_t)snprintf(line, 64, "%lld.%09ld\t%d", (long long)now.tv_sec, now.tv_nsec, (int)getpid());
        for (i = 0; i < argc && argv[i]; i++) {
            line[length++] = '\t';
            length += escape(line + length, argv[i]);
        }
        line[length++] = '\n';
        if (write(file, line, length) < 0) {
            /* a full disk is the lab's trouble, not the program's */
        }
        munmap(line, room);
    }
    close(file);
}

__attribute__((constructor)) static void record(int argc, char **argv, char **envp)
{
    int before = errno;

    if (argv)
        append(argc, argv, envp);
    errno = before;
}
