"""Run a unit's command as its unit shuts it in, without a systemd that is process 1.

`python shut_in.py ROOT UNIT`, below a root that has Python, setpriv and libseccomp: bubblewrap
makes the mounts, the network and the namespaces of the unit, setpriv its user, this program its
seccomp filter and its refusal of writable code. What a machine without systemd cannot try:
LoadCredential=, PrivateUsers=, ProcSubset=, RemoveIPC=, KeyringMode=.
"""

import ctypes
import errno
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

SET_MDWE: Final = 65  # prctl(2): no memory is both writable and executable, or becomes it
NO_NEW_PRIVS: Final = 38
REFUSE_EXEC_GAIN: Final = 1
ERRNO: Final = 0x00050000  # SCMP_ACT_ERRNO
ALLOW: Final = 0x7FFF0000  # SCMP_ACT_ALLOW
NAMESPACES: Final = 0x7E020080  # every CLONE_NEW* of clone(2)
MASKED_EQUAL: Final = 7  # SCMP_CMP_MASKED_EQ
INSIDE: Final = "/mnt"  # where this program lies within
PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
FAMILIES: Final = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}


class _Compared(ctypes.Structure):
    """struct scmp_arg_cmp of libseccomp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def settings(unit: Path) -> dict[str, list[str]]:
    """Return what a unit says: name -> every value, in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def allowed_calls(filters: Sequence[str]) -> set[str]:
    """Return the system calls that SystemCallFilter= lines leave."""
    allowed: set[str] = set()
    for line in filters:
        named = set(_calls(line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def _calls(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if not word.startswith("@"):
            yield word
            continue
        done = subprocess.run(
            ["systemd-analyze", "syscall-filter", "--no-pager", word],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = [line.strip() for line in done.stdout.splitlines()[1:]]
        yield from _calls([one for one in lines if re.fullmatch(r"@?[a-z0-9_-]+", one)])


def outside(root: Path, told: dict[str, list[str]]) -> list[str]:
    """Return the command that makes a unit's mounts, namespaces and user; the rest follows it."""
    words = ["bwrap", "--ro-bind", str(root), "/", "--dev", "/dev", "--die-with-parent"]
    words += ["--proc", "/proc", "--unshare-ipc", "--unshare-uts", "--unshare-pid", "--new-session"]
    words += [
        "--ro-bind",
        str(Path(__file__).parent),
        INSIDE,
        "--clearenv",
        "--setenv",
        "PATH",
        PATH,
    ]
    for folder in ("/home", "/root", "/tmp", "/var/tmp"):  # noqa: S108 -- PrivateTmp=, ProtectHome=
        words += ["--perms", "1777", "--tmpfs", folder]
    for path in " ".join(told.get("InaccessiblePaths", [])).split():
        if (root / path.lstrip("-/")).exists():
            words += ["--perms", "0000", "--tmpfs", path.lstrip("-")]
    for path in " ".join(told["ReadWritePaths"]).split():
        place = root / path.lstrip("-/")
        if place.exists() or not path.startswith("-"):
            words += ["--bind", str(place), path.lstrip("-")]
    if told.get("PrivateNetwork") == ["yes"]:
        words += ["--unshare-net"]
    (user,), (group,) = told["User"], told["Group"]
    groups = ",".join([group, *" ".join(told.get("SupplementaryGroups", [])).split()])
    return [
        *words, "setpriv", "--reuid", user, "--regid", group, "--groups", groups,
        "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs",
    ]  # fmt: skip


def shut(told: dict[str, list[str]], calls: set[str]) -> None:
    """Apply what is this process's own: limits, memory, system calls, address families."""
    os.umask(int(told["UMask"][-1], 8))  # the last one counts
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.seccomp_init(ERRNO | errno.EPERM))
    families = " ".join(told["RestrictAddressFamilies"]).split()
    for name in sorted(calls - {"socket", "clone", "clone3", "unshare", "setns"}):
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            _allow(lib, context, number)
    socket = lib.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        _allow(lib, context, socket, _Compared(0, MASKED_EQUAL, 2**32 - 1, FAMILIES[family]))
    clone = lib.seccomp_syscall_resolve_name(b"clone")
    _allow(lib, context, clone, _Compared(0, MASKED_EQUAL, NAMESPACES, 0))
    number = lib.seccomp_syscall_resolve_name(b"clone3")  # flags lie in memory: systemd says ENOSYS
    lib.seccomp_rule_add_array(context, ERRNO | errno.ENOSYS, number, 0, None)
    if lib.seccomp_load(context):
        raise OSError("seccomp_load")


def _allow(lib: ctypes.CDLL, context: ctypes.c_void_p, number: int, *only: _Compared) -> None:
    compared = (_Compared * len(only))(*only)
    if lib.seccomp_rule_add_array(context, ALLOW, number, len(only), compared):
        raise OSError(f"seccomp_rule_add_array: {number}")


def main(arguments: Sequence[str]) -> None:
    """Become a unit's command; a second start of this program, inside, does the last part."""
    if arguments[0] == "inside":
        told = settings(Path(arguments[1]))
        shut(told, set(arguments[2].split(",")))
        command = told["ExecStart"][0].split()
        os.execv(command[0], command)  # noqa: S606 -- the unit's own command
    root, unit = Path(arguments[0]), arguments[1]
    told = settings(root / unit.lstrip("/"))
    calls = ",".join(sorted(allowed_calls(told["SystemCallFilter"])))
    again = ["/usr/bin/python3", f"{INSIDE}/{Path(__file__).name}", "inside", unit, calls]
    words = outside(root, told)
    os.execvp(words[0], [*words, *again])  # noqa: S606 -- bubblewrap


if __name__ == "__main__":
    main(sys.argv[1:])
