/* Lets the n-th call of one kind fail, on files below one folder, native code's calls included.

   Loaded before all other libraries (LD_PRELOAD). `fault_arm` chooses the call, `fault_count` says
   how many there were. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, READ, WRITE, SYNC, RENAME, KINDS };
#define FILES 4096

static char root[PATH_MAX];
static unsigned char inside[FILES];
static long counts[KINDS];
static int armed = -1, error;
static long at;

void fault_arm(const char *folder, int kind, long number, int code) {
    snprintf(root, sizeof root, "%s", folder);
    memset(counts, 0, sizeof counts);
    armed = kind, at = number, error = code;
}

long fault_count(int kind) { return counts[kind]; }

static int fails(int kind) {
    if (!root[0]) return 0;
    long number = __atomic_add_fetch(&counts[kind], 1, __ATOMIC_RELAXED);
    if (kind != armed || number != at) return 0;
    errno = error;
    return 1;
}

static int is_inside(int folder, const char *path) {
    char whole[PATH_MAX * 2];
    if (!root[0] || !path) return 0;
    if (path[0] != '/') {
        char here[PATH_MAX];
        if (folder != AT_FDCWD || !getcwd(here, sizeof here)) return 0;
        snprintf(whole, sizeof whole, "%s/%s", here, path);
        path = whole;
    }
    return !strncmp(path, root, strlen(root));
}

static int is_held(int file) { return file >= 0 && file < FILES && inside[file]; }
static int keep(int file, int is_ours) {
    if (file >= 0 && file < FILES) inside[file] = (unsigned char)is_ours;
    return file;
}

#define REAL(name, type, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define MODE(flags)                                                                              \
    mode_t mode = 0;                                                                             \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                       \
        va_list more;                                                                            \
        va_start(more, flags);                                                                   \
        mode = va_arg(more, mode_t);                                                             \
        va_end(more);                                                                            \
    }
#define OPENS(name)                                                                              \
    int name(const char *path, int flags, ...) {                                                 \
        MODE(flags)                                                                              \
        int ours = is_inside(AT_FDCWD, path);                                                    \
        if (ours && fails(OPEN)) return -1;                                                      \
        return keep(REAL(#name, int, const char *, int, ...)(path, flags, mode), ours);          \
    }
#define OPENS_AT(name)                                                                           \
    int name(int folder, const char *path, int flags, ...) {                                     \
        MODE(flags)                                                                              \
        int ours = is_inside(folder, path);                                                      \
        if (ours && fails(OPEN)) return -1;                                                      \
        return keep(REAL(#name, int, int, const char *, int, ...)(folder, path, flags, mode),    \
                    ours);                                                                       \
    }
OPENS(open) OPENS(open64) OPENS_AT(openat) OPENS_AT(openat64)

#define MOVES(name, kind, buffer)                                                                \
    ssize_t name(int file, buffer what, size_t size) {                                           \
        if (is_held(file) && fails(kind)) return -1;                                             \
        return REAL(#name, ssize_t, int, buffer, size_t)(file, what, size);                      \
    }
#define MOVES_AT(name, kind, buffer)                                                             \
    ssize_t name(int file, buffer what, size_t size, off_t place) {                              \
        if (is_held(file) && fails(kind)) return -1;                                             \
        return REAL(#name, ssize_t, int, buffer, size_t, off_t)(file, what, size, place);        \
    }
#define MOVES_MANY(name, kind)                                                                   \
    ssize_t name(int file, const struct iovec *what, int count) {                                \
        if (is_held(file) && fails(kind)) return -1;                                             \
        return REAL(#name, ssize_t, int, const struct iovec *, int)(file, what, count);          \
    }
MOVES(read, READ, void *) MOVES(write, WRITE, const void *)
MOVES_AT(pread64, READ, void *) MOVES_AT(pwrite64, WRITE, const void *)
MOVES_MANY(readv, READ) MOVES_MANY(writev, WRITE)

#define SYNCS(name)                                                                              \
    int name(int file) {                                                                         \
        if (is_held(file) && fails(SYNC)) return -1;                                             \
        return REAL(#name, int, int)(file);                                                      \
    }
SYNCS(fsync) SYNCS(fdatasync)

int rename(const char *from, const char *to) {
    if (is_inside(AT_FDCWD, to) && fails(RENAME)) return -1;
    return REAL("rename", int, const char *, const char *)(from, to);
}

int renameat(int a, const char *from, int b, const char *to) {
    if (is_inside(b, to) && fails(RENAME)) return -1;
    return REAL("renameat", int, int, const char *, int, const char *)(a, from, b, to);
}

int close(int file) {
    keep(file, 0);
    return REAL("close", int, int)(file);
}
