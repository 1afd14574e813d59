"""A preflight: a list of checks, each of which passes, warns, fails or is skipped, with a remedy.

A check returns what it saw, or raises what is wrong: errors of this project say what was
expected, what was found and what to do. A check of something that rests on another one that
failed is skipped, so that one mistake is said once.

Judgements of given values (versions, a policy, a budget, a disk, a socket) stand below.
"""

import platform
import re
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from fieldfare.client.home.policy import Policy
from fieldfare.client.home.policy_explained import warnings
from fieldfare.client.ledger.kept_states import RecallDecision, RecallStanding
from fieldfare.client.oversight.ledger_report import LimitUse
from fieldfare.shared.errors import FieldfareError, RunError, UsageError
from fieldfare.shared.system.sockets import is_short_enough
from fieldfare.shared.terminal.texts import cut, folded

TOPIC: Final = 12
INDENT: Final = TOPIC + 7
LONGEST: Final = 600  # characters of what is shown of one finding

T = TypeVar("T")

MOVE_IT: Final = (
    "move it to another disk or host and name it under [ledger] in institution.toml "
    "(docs/institution.md)"
)
CALM: Final = f"Where they may be away, {MOVE_IT}"


class CheckOutcome(Enum):
    """The result of a check; the value is the screen's text."""

    PASS = "pass"  # noqa: S105 -- no password
    WARN = "warn"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True)
class CheckNote:
    """A check's finding that neither passes nor fails by itself.

    Attributes:
        remedy: what to do then; None: what the check itself says.
    """

    outcome: CheckOutcome
    text: str
    remedy: str | None = None


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        topic: its subject, in a word.
        act: returns its finding; raises FieldfareError or OSError for a fault.
        remedy: what to do then, beyond what the error says; may be empty.
    """

    topic: str
    act: Callable[[], str | CheckNote]
    remedy: str = ""


@dataclass(frozen=True)
class CheckResult:
    """The result of a check."""

    topic: str
    outcome: CheckOutcome
    text: str
    remedy: str


class MissingError(Exception):
    """A check's prerequisite is missing; an earlier check said why."""


class CheckInput(Generic[T]):
    """Something that several checks rest on, made once."""

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        """Take a maker; `name` stands in the text of a skipped check."""
        self._name = name
        self._make = make
        self._made: list[T] = []

    def get(self) -> T:
        """Return it, for the check of itself.

        Raises:
            FieldfareError, OSError: it cannot be made.
        """
        if not self._made:
            self._made.append(self._make())
        return self._made[0]

    def need(self) -> T:
        """Return it, for a check that rests on it.

        Raises:
            MissingError: it cannot be made.
        """
        try:
            return self.get()
        except (FieldfareError, OSError):
            raise MissingError(self._name) from None


def findings(checks: Iterable[Check]) -> Iterator[CheckResult]:
    """Look at everything in order."""
    for check in checks:
        seen = _result(check)
        wrong = seen.outcome in {CheckOutcome.FAIL, CheckOutcome.WARN}
        remedy = check.remedy if seen.remedy is None else seen.remedy
        yield CheckResult(check.topic, seen.outcome, seen.text, remedy if wrong else "")


def _result(check: Check) -> CheckNote:
    try:
        seen = check.act()
    except MissingError as missing:
        return CheckNote(CheckOutcome.SKIP, f"needs {missing}, which failed above")
    except FieldfareError as error:
        return CheckNote(CheckOutcome.FAIL, str(error))
    except OSError as error:
        return CheckNote(
            CheckOutcome.FAIL, f"{error.filename or 'system'}: {error.strerror or error}"
        )
    return seen if isinstance(seen, CheckNote) else CheckNote(CheckOutcome.PASS, seen)


def finding_lines(found: CheckResult) -> Iterator[str]:
    """Yield a finding for a terminal, at most 80 columns wide."""
    head = f"{found.outcome.value:<6}{found.topic:<{TOPIC}} "
    yield from folded(head, cut(found.text, LONGEST))
    if found.remedy:
        yield from folded(f"{'    to do:':<{INDENT}}", cut(found.remedy, LONGEST))


def findings_json(found: Iterable[CheckResult]) -> list[dict[str, Any]]:
    """Return findings for programs."""
    return [
        {
            "topic": one.topic,
            "outcome": one.outcome.value.lower(),
            "found": one.text,
            "remedy": one.remedy,
        }
        for one in found
    ]


# -- preflight figures ----------------------------------------------------------------------------

FLOWER: Final = "1.42."
SPEAKS: Final = ("flwr", "grpcio", "cryptography", "numpy")  # what others are compared with
LEAST_FREE: Final = 100 * 2**20  # bytes: below, nothing can be relied on to be written
FEW_FREE: Final = 2**30
SECONDS: Final = 5.0

_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA: Final = re.compile(r"""extra == ["']institution["']""")


def judge_software() -> str | CheckNote:
    """Judge the installed software."""
    missing = [name for name in _required() if _version(name) is None]
    if missing:
        return CheckNote(
            CheckOutcome.FAIL,
            f"expected every library, found these missing: {', '.join(missing)}: run pip install "
            "'fieldfare[institution]'",
        )
    flower = str(_version("flwr"))
    if not flower.startswith(FLOWER):
        return CheckNote(CheckOutcome.FAIL, f"expected flwr {FLOWER}*, found {flower}")
    said = ", ".join(f"{name} {_version(name)}" for name in ("fieldfare", *SPEAKS))
    return f"{said}, Python {platform.python_version()}"


def judge_policy(policy: Policy) -> str | CheckNote:
    """Judge a policy that can be read: find unfinished and weak points."""
    found = [
        line for line in warnings(policy) if not line.startswith("coordinator is empty")
    ]  # the key may be in coordinator.pub: the check of the coordinator says
    if found:
        return CheckNote(CheckOutcome.WARN, "\n".join(found))
    budget = policy.budget
    return (
        f"epsilon {budget.study_epsilon:g} a study, {budget.yearly_epsilon:g} in any 365 days, "
        f"{budget.lifetime_epsilon:g} ever, at delta {budget.delta:g}"
    )


def judge_recall(
    recall: tuple[RecallStanding, RecallDecision] | None, *, begun: bool
) -> str | CheckNote:
    """Judge a witness on the ledger's own file system by what members answered at the last start.

    Args:
        recall: whom the last start asked, and what a person decided; None: nobody was asked.
        begun: whether anything was ever released.
    """
    place = (
        "the witness is on the ledger's own file system: a backup that is restored brings back both"
    )
    if recall is None:
        outcome = CheckOutcome.FAIL if begun else CheckOutcome.WARN
        said = f"{place}, and no member was asked what it remembers; {MOVE_IT}"
        return CheckNote(outcome, said)
    standing, decision = recall
    answered = f"{len(standing.heard)} of {len(standing.asked)} members answered at the last start"
    if not decision.allows(standing.missing):
        return CheckNote(
            CheckOutcome.FAIL,
            f"{place}, and only {answered} what they remember, so nothing opens: have "
            f"{', '.join(standing.missing)} connect, or {MOVE_IT}",
        )
    return CheckNote(CheckOutcome.WARN, f"{place}; {answered} what they remember. {CALM}")


def judge_budget(yearly: LimitUse, lifetime: LimitUse) -> str | CheckNote:
    """Judge the remaining budget."""
    if not yearly.left or not lifetime.left:
        which = "of any 365 days" if lifetime.left else "of all time"
        return CheckNote(
            CheckOutcome.FAIL, f"expected some budget left, found the budget {which} spent"
        )
    return (
        f"left in any 365 days epsilon {yearly.left_epsilon:.3g} of {yearly.limit_epsilon:g}, "
        f"ever {lifetime.left_epsilon:.3g} of {lifetime.limit_epsilon:g}"
    )


def judge_disk(free: int) -> str | CheckNote:
    """Judge how many bytes are free."""
    said = f"{free / 2**30:.1f} GiB free"
    if free < LEAST_FREE:
        return CheckNote(
            CheckOutcome.FAIL, f"expected {LEAST_FREE >> 20} MiB free, found {free >> 20} MiB"
        )
    return CheckNote(CheckOutcome.WARN, said) if free < FEW_FREE else said


def judge_swap(found: tuple[str, ...]) -> str | CheckNote:
    """Judge the active swap areas that are not seen to be encrypted."""
    if not found:
        return "none is active, or the active ones are in memory or encrypted"
    return CheckNote(
        CheckOutcome.WARN,
        f"{', '.join(found)}: active, and not known to be encrypted: keys of runs and records, "
        "which must stay in memory, may be written there and remain; this check cannot see a disk "
        "that encrypts by itself",
    )


def check_socket(path: Path, mode: int) -> None:
    """Check that a socket can be made at a path, or that the one there is closed to others.

    Raises:
        UsageError: a path that is too long, something else there, or a wider mode.
    """
    if not is_short_enough(path):
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
    """Check that a process listens at the data plane's socket; nothing is asked.

    Raises:
        RunError: no process does.
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
    """Return the names of the libraries that an institution needs: common and extra."""
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
