"""The ledger's terms (debits, limits, positions), and whether a debit is admitted.

Pure; nothing here sees a record.

mu^2 adds up over releases (Gaussian DP: Dong, Roth and Su 2019, Cor. 3.3), so a ledger is a
sum. It is kept in whole units of 1e-12, called picomu2, because a sum of integers is exact:
floats lose a small debit beside a large total, and a budget that forgets is no budget.

A debit says whose units its release read. No unit is in training and in the hold-out of one study,
so a study costs what read all units and the larger of the two sides (`SideCosts` has the proof),
and the ledger adds up studies. Debits of an earlier version say no side: they count as before, as
if every release had read all units, and so does what a restored copy or peers brought.

Checks of a debit (replay, order, budget) run in a fixed order, so that the same request on the same
ledger is always refused with the same code (docs/design.md, "Refusals").
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Final

from fieldfare.shared.canonical import is_sha256
from fieldfare.shared.errors import AccountingError, LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.privacy.sides import Side, SideCosts

PICOMU2_PER_MU2: Final = 10**12
MAX_PICOMU2: Final = 9 * 10**15  # below 2^53, so RFC 8785 section 3.2.2.3 writes it exactly
MAX_NAME: Final = 256
GENESIS_EPOCH: Final = 1


def to_picomu2(mu2: float) -> int:
    """Return mu^2 in units of 1e-12, rounded up: a debit is never below the cost.

    The sum of n rounded debits may exceed the rounded sum by n - 1 units: add up debits in
    picomu2 to get a limit for a plan, do not round the plan's total.

    Raises:
        AccountingError: `mu2` is not a finite number in [0, 9000].
    """
    if not (math.isfinite(mu2) and 0 <= mu2 <= MAX_PICOMU2 // PICOMU2_PER_MU2):
        raise AccountingError(
            f"expected mu^2 as a finite number in [0, {MAX_PICOMU2 // PICOMU2_PER_MU2}], "
            f"found {mu2!r}: nothing can be debited for it, so nothing may be released"
        )
    return math.ceil(Fraction(mu2) * PICOMU2_PER_MU2)  # exact: Fraction holds every float


def from_picomu2(units: int) -> float:
    """Return mu^2 as the nearest float; never below the float that `to_picomu2` was given."""
    return units / PICOMU2_PER_MU2  # int / int is correctly rounded, and rounding is monotone


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a population of units, in picomu2: within any 365 days, and in total.

    Raises:
        LedgerError: a limit is not an integer in [0, 9e15].
    """

    yearly_picomu2: int
    lifetime_picomu2: int

    def __post_init__(self) -> None:
        """Refuse a limit that the ledger cannot count up to."""
        check_count("the yearly limit in picomu2", self.yearly_picomu2)
        check_count("the lifetime limit in picomu2", self.lifetime_picomu2)


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Limit on the total cost of a study's releases from one step on, over all its runs.

    Raises:
        LedgerError: a field is no count.
    """

    first_step: int
    picomu2: int

    def __post_init__(self) -> None:
        """Refuse values that are no counts."""
        check_count("step", self.first_step)
        check_count("the portion's limit in picomu2", self.picomu2)


@dataclass(frozen=True, kw_only=True)
class Debit:
    """The cost of one release, and its place in its run.

    `request` is the sha256 of the canonical request R, `cost` is in picomu2, `attempt` counts
    from 0 within its step, `side` says whose units the release read.

    Raises:
        LedgerError: a field cannot stand in the ledger; a cost of 0 is no debit.
    """

    study: str
    run: str
    step: int
    attempt: int
    kind: str
    request: str
    cost: int
    side: Side = Side.ALL

    def __post_init__(self) -> None:
        """Refuse numbers that the chain could not hold exactly."""
        for what in ("study", "run", "kind"):
            check_text(what, getattr(self, what), MAX_NAME)
        check_count("step", self.step)
        check_count("attempt", self.attempt)
        check_count("cost in picomu2", self.cost, least=1)
        check_sha256("request", self.request)

    @property
    def place(self) -> tuple[str, str, int, int, str]:
        """Study, run, step, attempt and kind, which a request can never change."""
        return self.study, self.run, self.step, self.attempt, self.kind

    def content(self) -> dict[str, Any]:
        """Return what is hashed of it: no side where it read all, as before there were sides."""
        found = asdict(self)
        del found["side"]
        return found if self.side is Side.ALL else found | {"side": self.side.value}


@dataclass(frozen=True, kw_only=True)
class Position:
    """One point of a ledger's history, in every signed reply (docs/design.md, "The ledger").

    `head` is the chain's sha256 after `sequence` entries, `cumulative` the picomu2 spent by
    them, `epoch` rises from 1 whenever a restored copy is accepted: keys and approvals of an
    earlier one count no more. `debited` is the plain sum of all debits, which rises with each: a
    debit on the smaller side raises `cumulative` by 0, and what a lost history spent must not be
    read off a number that may stand still.
    """

    sequence: int
    head: str
    cumulative: int
    epoch: int
    debited: int


@dataclass(frozen=True, kw_only=True)
class StoredReply:
    """The bytes that answered a request, now and whenever it is repeated.

    `commitment` is the first message, where there were two; `cost` is in picomu2.
    """

    reply: bytes
    vector: bytes
    position: Position
    commitment: bytes = b""
    cost: int = 0


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One debit as it stands in the ledger.

    `vector` is the sha256 of the masked vector that left, `study_total` the picomu2 of the debit's
    study up to and with this entry, `time` is in UTC and never before the previous entry's.
    """

    position: Position
    time: datetime
    debit: Debit
    vector: str
    study_total: int


def present(own: datetime, peers: Sequence[datetime], tolerance: int) -> datetime:
    """Return the present that a budget's window is measured back from.

    The earlier of the own clock and the (t + 1)-th latest of the times that peers signed: t
    colluders cannot make it later than an honest peer's, and an earlier present only counts more.

    Edge cases:
        | peers | answer |
        |---|---|
        | t or fewer | the own clock: nobody honest need be among them |
        | all behind | the (t + 1)-th latest: the window reaches further back |
        | all ahead | the own clock |
    """
    latest = sorted(peers, reverse=True)[tolerance : tolerance + 1]
    return min([own, *latest])


def check_count(what: str, value: object, *, least: int = 0) -> None:
    """Refuse anything but an integer in [least, 9e15].

    Raises:
        LedgerError: says `what` was expected and what was found.
    """
    if type(value) is not int or not least <= value <= MAX_PICOMU2:
        raise LedgerError(
            f"expected {what} as an integer in [{least}, {MAX_PICOMU2}], found {value!r}"
        )


def check_sha256(what: str, value: object) -> None:
    """Refuse anything but 64 lower-case hex digits.

    Raises:
        LedgerError: says `what` was expected and what was found.
    """
    if not is_sha256(value):
        raise LedgerError(f"expected {what} as 64 lower-case hex digits, found {value!r}")


def check_text(what: str, value: object, most: int) -> None:
    """Refuse anything but 1 to `most` printable characters.

    Raises:
        LedgerError: says `what` was expected and what was found.
    """
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise LedgerError(f"expected {what} as 1 to {most} printable characters, found {value!r}")


# -- ledger rules ---------------------------------------------------------------------------------

WINDOW: Final = timedelta(days=365)  # limits slide (docs/design.md, "The ledger")


@dataclass(frozen=True, kw_only=True)
class LedgerBalance:
    """The ledger's totals that a new debit is checked against.

    `occupant` is the request that took the same study, run, step and attempt; `last` is the
    highest answered step of the run with its highest attempt, and counts what waits for its
    opening; `opened` are the debits of this step of the run. Totals are in picomu2, of all studies
    beside the costs of the debit's own in the same time; `portion_total` is of the part of the
    study that the debit belongs to, if any.
    """

    occupant: str | None
    last: tuple[int, int] | None
    study: SideCosts
    yearly_total: int
    lifetime_total: int
    study_in_year: SideCosts = field(default_factory=SideCosts)
    study_ever: SideCosts = field(default_factory=SideCosts)
    portion_total: int = 0
    opened: int = 0


def check_debit(
    debit: Debit,
    balance: LedgerBalance,
    limits: Limits,
    *,
    study_limit: int,
    max_attempts: int,
    max_tries: int | None = None,
    portion: Portion | None = None,
) -> None:
    """Let a debit pass that is new, in order and affordable.

    Raises:
        PolicyRefusal: REPLAY_CHANGED, STEP_CLOSED, ATTEMPT_CLOSED, TOO_MANY_ATTEMPTS or
            BUDGET_EXHAUSTED, the first that applies.
    """
    _check_order(debit, balance)
    most = max_attempts if max_tries is None else max_tries
    if debit.attempt >= most:
        raise PolicyRefusal(
            RefusalCode.TOO_MANY_ATTEMPTS,
            f"expected an attempt below {most} (counted from 0), found {debit.attempt}: "
            "this step stays unanswered",
        )
    if balance.opened >= max_attempts:
        raise PolicyRefusal(
            RefusalCode.TOO_MANY_ATTEMPTS,
            f"expected at most {max_attempts} attempts of a step that were paid for, found "
            f"{balance.opened} before this one: this step stays unanswered",
        )
    if portion is not None:
        room = portion.picomu2 - balance.portion_total
        _check_budget("the allowance", debit.cost, room, portion.picomu2)
    for what, own, total, limit in (
        ("the study's limit", balance.study, balance.study.total, study_limit),
        (
            "the limit of any 365 days",
            balance.study_in_year,
            balance.yearly_total,
            limits.yearly_picomu2,
        ),
        ("the lifetime limit", balance.study_ever, balance.lifetime_total, limits.lifetime_picomu2),
    ):
        room = own.room(debit.side, limit - (total - own.total))
        _check_budget(what, debit.cost, room, limit)


def _check_order(debit: Debit, balance: LedgerBalance) -> None:
    if balance.occupant not in {None, debit.request}:
        raise PolicyRefusal(
            RefusalCode.REPLAY_CHANGED,
            f"expected the request that answered step {debit.step}, attempt {debit.attempt}, "
            "found another: repeat the first one unchanged, or make a new attempt",
        )
    if balance.last is None:
        return
    step, attempt = balance.last
    if debit.step < step:
        raise PolicyRefusal(
            RefusalCode.STEP_CLOSED,
            f"expected step {step} or later, found step {debit.step}: answered steps are closed",
        )
    # docs/design.md, "Attempts": they only go up; after answering attempt a + 1, a is closed
    if debit.step == step and debit.attempt < attempt:
        raise PolicyRefusal(
            RefusalCode.ATTEMPT_CLOSED,
            f"expected attempt {attempt} or later of step {step}, found {debit.attempt}: "
            "attempts only go up",
        )


def _check_budget(what: str, cost: int, room: int, limit: int) -> None:
    if cost > room:
        raise PolicyRefusal(
            RefusalCode.BUDGET_EXHAUSTED,
            f"expected at most {from_picomu2(max(room, 0))!r} of mu^2, which {what} of "
            f"{from_picomu2(limit)!r} leaves, found a release that costs {from_picomu2(cost)!r}",
        )
