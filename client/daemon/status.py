"""A running custodian's report to its own institution: its state, and the changes of a look."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from fieldfare.client.home.studies import stamp
from fieldfare.client.journal.releases import LastRelease
from fieldfare.client.ledger.budget import WINDOW, Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import LedgerError

STATUS_FORMAT: Final = 1


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def to_bytes(self) -> bytes:
        """Return canonical JSON."""
        return canonical_bytes(self)


class StudyNow(_Told):
    """An approved study: answered for, or left out and why.

    Attributes:
        runs: those of which the custodian holds keys.
        records: how many rows count as zero; empty where none does.
    """

    id: str
    serving: bool
    reason: str = ""
    runs: list[str] = []
    records: str = ""


class ReleaseNow(_Told):
    """The last answer that left; `time` is ISO 8601."""

    time: str
    study: str
    run: str
    kind: str
    step: int


class LedgerNow(_Told):
    """The ledger's state; sums in picomu2, limits as the policy has them."""

    entries: int
    epoch: int
    head: str
    spent: int
    yearly_left: int
    lifetime_left: int
    yearly_limit: int
    lifetime_limit: int


class CustodianStatus(_Told):
    """A running custodian.

    Attributes:
        started: when, ISO 8601.
        process: its process id.
        busy: it is taking something into force just now, such as a study whose records load.
        trouble: why nothing is served; empty where something may be.
        roster, roster_hash: version and hash in force.
        policy: sha256 of the policy.toml in force.
        identity: public key in force, hex.
        releases: answers that left since the start, repeats included.
        refusals: since the start, by code.
    """

    format: Literal[1] = STATUS_FORMAT
    institution: str
    started: str
    process: int
    busy: bool
    trouble: str
    roster: int
    roster_hash: str
    policy: str
    identity: str
    studies: list[StudyNow]
    releases: int
    refusals: dict[str, int]
    last_release: ReleaseNow | None
    ledger: LedgerNow | None


@dataclass(frozen=True, kw_only=True)
class CustodianCounts:
    """Answers and acts since the start, for who watches.

    Attributes:
        kinds: answers that left, by kind of release.
        acts: acts for a run without a release, by kind.
        repeated: answers to a later attempt than the first.
    """

    kinds: Mapping[str, int]
    acts: Mapping[str, int]
    repeated: int


class ReloadReport(_Told):
    """The changes that one look at the home brought.

    Attributes:
        changed: one line each; empty if everything was in force already.
        trouble: why nothing is served; empty where something may be.
        left_out: approved studies that are not answered for, and why.
        records: how many rows of newly served studies count as zero; for people, not for a log.
    """

    format: Literal[1] = STATUS_FORMAT
    changed: list[str]
    records: list[str] = []
    trouble: str
    left_out: list[StudyNow]


def release_now(last: LastRelease | None) -> ReleaseNow | None:
    """Return the last release as it is told."""
    if last is None:
        return None
    return ReleaseNow(
        time=stamp(last.time), study=last.study, run=last.run, kind=last.kind, step=last.step
    )


def ledger_now(ledger: Ledger, granted: Limits, now: datetime) -> LedgerNow | None:
    """Return where a ledger stands within its limits; None where it cannot be read just now."""
    try:
        position = ledger.position()
        yearly, ever = ledger.spent_since(now - WINDOW), ledger.spent()
    except LedgerError:
        return None
    return LedgerNow(
        entries=position.sequence,
        epoch=position.epoch,
        head=position.head,
        spent=ever,
        yearly_left=max(granted.yearly_picomu2 - yearly, 0),
        lifetime_left=max(granted.lifetime_picomu2 - ever, 0),
        yearly_limit=granted.yearly_picomu2,
        lifetime_limit=granted.lifetime_picomu2,
    )
