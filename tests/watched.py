"""Runs a command and records what it asks of the network, native code included, and what it leaves.

A small library, compiled here and loaded before all others (``LD_PRELOAD``), stands before the C
library's look-up and connection functions, so that it sees C++ code such as ONNX Runtime's as
well as Python. It writes down what is asked for and answers that the network is down: a test
sends nothing even if it fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_SOURCE = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *call, const char *what) {
    const char *path = getenv("WATCHED_CALLS");
    char line[512];
    int length = snprintf(line, sizeof line, "%s %s\n", call, what ? what : "");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    if (file < 0 || write(file, line, length) != length) abort();
    close(file);
}

/* Sockets of this machine itself, and those of an address family that leads nowhere. */
static int stays(const struct sockaddr *to) {
    if (!to) return 1;
    if (to->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)to;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    if (to->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)to;
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    }
    return 1;
}

#define REAL(name, result, ...) ((result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))
#include <dlfcn.h>

int connect(int s, const struct sockaddr *to, socklen_t n) {
    if (stays(to)) return REAL(connect, int, int, const struct sockaddr *, socklen_t)(s, to, n);
    note("connect", "");
    errno = ENETUNREACH;
    return -1;
}

ssize_t sendto(int s, const void *b, size_t n, int f, const struct sockaddr *to, socklen_t m) {
    if (stays(to))
        return REAL(sendto, ssize_t, int, const void *, size_t, int, const struct sockaddr *,
                    socklen_t)(s, b, n, f, to, m);
    note("sendto", "");
    errno = ENETUNREACH;
    return -1;
}

ssize_t sendmsg(int s, const struct msghdr *m, int f) {
    if (stays(m->msg_name)) return REAL(sendmsg, ssize_t, int, const struct msghdr *, int)(s, m, f);
    note("sendmsg", "");
    errno = ENETUNREACH;
    return -1;
}

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                struct addrinfo **found) {
    struct in6_addr number; // nothing to look up, whichever it is
    int numeric = hints && hints->ai_flags & AI_NUMERICHOST;
    numeric = numeric || (name && inet_pton(AF_INET, name, &number) == 1);
    if (!name || numeric || !strcmp(name, "localhost"))
        return REAL(getaddrinfo, int, const char *, const char *, const struct addrinfo *,
                    struct addrinfo **)(name, port, hints, found);
    note("getaddrinfo", name);
    return EAI_AGAIN;
}

struct hostent *gethostbyname(const char *name) {
    note("gethostbyname", name);
    h_errno = TRY_AGAIN;
    return NULL;
}

struct hostent *gethostbyname2(const char *name, int family) { return gethostbyname(name); }

int gethostbyname_r(const char *name, struct hostent *h, char *b, size_t n, struct hostent **r,
                    int *e) {
    note("gethostbyname_r", name);
    *r = NULL;
    *e = TRY_AGAIN;
    return EAGAIN;
}

#define QUERY(name)                                                                              \
    int name(const char *what, int c, int t, unsigned char *a, int n) {                          \
        note(#name, what);                                                                       \
        return -1;                                                                               \
    }
QUERY(res_query) QUERY(res_search) QUERY(__res_query) QUERY(__res_search)
"""


@dataclass(frozen=True)
class Seen:
    """What a command did."""

    calls: list[str]  # look-ups, and connections that leave the machine
    files: list[str]  # new ones in the home, cache, temporary and working folders
    stdout: str
    stderr: str


@dataclass
class Watch:
    """Runs programs in a home of their own, under the trap.

    Parameters
    ----------
    trap : Path
        The library.
    folder : Path
        An empty one, for the home, temporary and working folders.
    """

    trap: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def python(self, *arguments: str | Path) -> Seen:
        """Run the interpreter; what is not 0 at its end fails the test."""
        rooms = {name: self.folder / name for name in ("home", "tmp", "cache", "config", "cwd")}
        for room in rooms.values():
            room.mkdir(parents=True, exist_ok=True)
        before = self._files(list(rooms.values()))
        calls = self.folder / "calls"
        calls.write_bytes(b"")
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=rooms["cwd"],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(sys.path),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": str(rooms["home"]),
                "TMPDIR": str(rooms["tmp"]),
                "XDG_CACHE_HOME": str(rooms["cache"]),
                "XDG_CONFIG_HOME": str(rooms["config"]),
                "LD_PRELOAD": str(self.trap),
                "WATCHED_CALLS": str(calls),
                **self.environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        files = sorted(self._files(list(rooms.values())) - before)
        return Seen(calls.read_text().splitlines(), files, done.stdout, done.stderr)

    def tinysignal(self, *arguments: str | Path) -> Seen:
        """Run the command line."""
        return self.python("-m", "tinysignal", *arguments)

    def _files(self, rooms: list[Path]) -> set[str]:
        return {str(p.relative_to(self.folder)) for room in rooms for p in room.rglob("*")}


def compile_trap(folder: Path) -> Path:
    """The library, compiled into a folder; skips where it cannot be."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("the socket trap needs Linux and a C compiler")
    source, library = folder / "trap.c", folder / "trap.so"
    source.write_text(_SOURCE)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library
