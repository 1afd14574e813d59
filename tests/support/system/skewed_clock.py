"""A clock that is wrong, for processes that are started with it; it can be set while they run.

A library that is loaded before the C library moves the time of day, for everything in a process:
Python, TLS, gRPC. Clocks that only go forward stay as they are.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIBRARY: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead(void) {
    char text[32] = {0};
    const char *path = getenv("SKEWED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    long found = read(file, text, sizeof text - 1) > 0 ? atol(text) : 0;
    close(file);
    return found;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, now);
    if (!status && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return status;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec found;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &found)) return -1;
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
"""


@dataclass(frozen=True)
class SkewedClock:
    """A clock in a folder."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be started with."""
        return {
            "LD_PRELOAD": str(self.folder / "clock.so"),
            "SKEWED_CLOCK": str(self.folder / "ahead"),
        }

    def set(self, ahead_seconds: int) -> None:
        """Let it be so many seconds ahead."""
        (self.folder / "ahead").write_text(f"{ahead_seconds}\n")


def skewed_clock(folder: Path) -> SkewedClock | None:
    """A clock that is right so far; None where there is no compiler to make it."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    (folder / "clock.c").write_text(LIBRARY)
    # Unoptimised: an inlined atol needs a C library as new as this machine's.
    made = [compiler, "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    clock = SkewedClock(folder)
    clock.set(0)
    return clock
