"""A preflight's judgements of given values: versions, a policy, a budget, a disk, a socket."""

import platform
import re
import socket
import stat
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from fieldfare.client.institution.ledger_report import Budget
from fieldfare.client.institution.policy import Policy
from fieldfare.client.institution.policy_text import warnings
from fieldfare.client.institution.preflight import Outcome, Seen
from fieldfare.client.sockets import LONGEST_PATH
from fieldfare.shared.errors import RunError, UsageError

FLOWER: Final = "1.42."
SPEAKS: Final = ("flwr", "grpcio", "cryptography", "numpy")  # what others are compared with
LEAST_FREE: Final = 100 * 2**20  # bytes: below, nothing can be relied on to be written
FEW_FREE: Final = 2**30
SECONDS: Final = 5.0

_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA: Final = re.compile(r"""extra == ["']institution["']""")


def software_seen() -> str | Seen:
    """Judge what is installed."""
    missing = [name for name in _required() if _version(name) is None]
    if missing:
        return Seen(
            Outcome.FAIL,
            f"expected every library, found these missing: {', '.join(missing)}: run pip install "
            "'fieldfare[institution]'",
        )
    flower = str(_version("flwr"))
    if not flower.startswith(FLOWER):
        return Seen(Outcome.FAIL, f"expected flwr {FLOWER}*, found {flower}")
    said = ", ".join(f"{name} {_version(name)}" for name in ("fieldfare", *SPEAKS))
    return f"{said}, Python {platform.python_version()}"


def policy_seen(policy: Policy) -> str | Seen:
    """Judge a policy that can be read: what is unfinished or weak."""
    found = [
        line for line in warnings(policy) if not line.startswith("coordinator is empty")
    ]  # the key may be in coordinator.pub: the look at the coordinator says
    if found:
        return Seen(Outcome.WARN, "\n".join(found))
    budget = policy.budget
    return (
        f"epsilon {budget.study_epsilon:g} a study, {budget.yearly_epsilon:g} in any 365 days, "
        f"{budget.lifetime_epsilon:g} ever, at delta {budget.delta:g}"
    )


def budget_seen(yearly: Budget, lifetime: Budget) -> str | Seen:
    """Judge what is left."""
    if not yearly.left or not lifetime.left:
        which = "of any 365 days" if lifetime.left else "of all time"
        return Seen(Outcome.FAIL, f"expected some budget left, found the budget {which} spent")
    return (
        f"left in any 365 days epsilon {yearly.left_epsilon:.3g} of {yearly.limit_epsilon:g}, "
        f"ever {lifetime.left_epsilon:.3g} of {lifetime.limit_epsilon:g}"
    )


def disk_seen(free: int) -> str | Seen:
    """Judge how many bytes are free."""
    said = f"{free / 2**30:.1f} GiB free"
    if free < LEAST_FREE:
        return Seen(Outcome.FAIL, f"expected {LEAST_FREE >> 20} MiB free, found {free >> 20} MiB")
    return Seen(Outcome.WARN, said) if free < FEW_FREE else said


def check_socket(path: Path, mode: int) -> None:
    """Check that a socket can be made at a path, or that the one there is closed to others.

    Raises:
        UsageError: a path that is too long, something else there, or a wider mode.
    """
    if len(str(path.with_name(f".{path.name}") / "s").encode()) > LONGEST_PATH:
        raise UsageError(
            f"{path}: expected a shorter path, found one too long for a socket: name another in "
            "institution.toml"
        )
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found):
        raise UsageError(f"{path}: expected a socket or nothing, found another file: move it")
    if stat.S_IMODE(found) & ~mode:
        raise UsageError(
            f"{path}: expected mode {mode:04o}, found {stat.S_IMODE(found):04o}: restart the "
            "custodian"
        )


def check_answers(path: Path) -> None:
    """Check that somebody listens at the data plane's socket; nothing is asked.

    Raises:
        RunError: nobody does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(SECONDS)
        try:
            probe.connect(str(path))
        except OSError as error:
            raise RunError(
                f"{path}: expected a custodian that listens, found: {error.strerror or error}: "
                "restart it"
            ) from None


def _required() -> list[str]:
    """Return the names of the libraries that an institution needs: everybody's and its extra's."""
    found = []
    for line in requires("fieldfare") or []:
        name = _REQUIREMENT.match(line)
        if name and ("extra ==" not in line or _EXTRA.search(line)):
            found.append(name[0])
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
