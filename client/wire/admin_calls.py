"""What a custodian's own institution may ask of it: how it stands, and to look at its home.

Nothing here approves, spends or releases: decisions are taken in the home, by the commands that
check them, and a custodian is told to look. Neither question has words, so none is taken in.
"""

from typing import Final, Literal

from pydantic import Field

from fieldfare.shared.desk.calls import DeskCall, DeskTerm, DeskWords, Nothing

STATUS_FORMAT: Final = 1
STATUS_SECONDS: Final = 5.0
RELOAD_SECONDS: Final = 600.0  # a newly approved study's records are loaded meanwhile
CUSTODIAN_WORDS: Final = DeskWords("the custodian", "ask again")


class StudyStatus(DeskTerm):
    """An approved study: answered for, or left out and why.

    Attributes:
        runs: those of which the custodian holds keys.
        records: how many rows count as zero; empty where none does.
    """

    id: str
    serving: bool
    reason: str = ""
    runs: list[str] = Field(default_factory=list)
    records: str = ""


class ReleaseStatus(DeskTerm):
    """The last answer that left; `time` is ISO 8601."""

    time: str
    study: str
    run: str
    kind: str
    step: int


class LedgerStatus(DeskTerm):
    """The ledger's state; sums in picomu2, limits as the policy has them."""

    entries: int
    epoch: int
    head: str
    spent: int
    yearly_left: int
    lifetime_left: int
    yearly_limit: int
    lifetime_limit: int

    def nears_its_end(self, share: float) -> bool:
        """Tell whether less than `share` of a limit is left."""
        return (
            self.yearly_left < share * self.yearly_limit
            or self.lifetime_left < share * self.lifetime_limit
        )


class CustodianStatus(DeskTerm):
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
    studies: list[StudyStatus]
    releases: int
    refusals: dict[str, int]
    last_release: ReleaseStatus | None
    ledger: LedgerStatus | None


class ReloadReport(DeskTerm):
    """The changes that one look at the home brought.

    Attributes:
        changed: one line each; empty if everything was in force already.
        trouble: why nothing is served; empty where something may be.
        left_out: approved studies that are not answered for, and why.
        records: how many rows of newly served studies count as zero; for people, not for a log.
    """

    format: Literal[1] = STATUS_FORMAT
    changed: list[str]
    records: list[str] = Field(default_factory=list)
    trouble: str
    left_out: list[StudyStatus]


STATUS: Final = DeskCall("custodian.status", Nothing, CustodianStatus, STATUS_SECONDS)
# Take into force what the home says now: decisions, roster, identity, policy, ledger.
RELOAD: Final = DeskCall("custodian.reload", Nothing, ReloadReport, RELOAD_SECONDS)
