"""What the door and its custodian ask of others: sums, checks, keys, a log and an inbox.

The door holds no reading of records, no replay of a run and no key agreement of its own: they
stand behind these ports, and its custodian gives it the real ones. None of them can send.

The log takes requests, refusals, releases and approvals. One that cannot be written raises, and
then no reply leaves: `released` is called after the debit and the reply's bytes are committed and
before they are sent, so that a repeat of the request gets the same bytes once the log can be
written again (docs/design.md, "The door").

The inbox stores messages of the coordinator that are not answered (offers, finished models). The
custodian checks signatures and hashes before a message comes here; a stored message starts
nothing by itself. A person decides.
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.ledger.budget import Debit, Portion, Position
from fieldfare.client.ledger.peers import PeerRows
from fieldfare.client.ledger.pending import Split
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.messages import LastSum, Request
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.secure_sum import RunKeys
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study

Term = str | int | float | bool

# -- the door's -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class CommitmentReply:
    """A first message that leaves: the signed commitment, and the vector that its seed opens."""

    commitment: bytes
    vector: bytes


@dataclass(frozen=True)
class HelloAnswer:
    """An answer to `hello`: the signed approval, and where a run is named the signed RunAnswer.

    Beside that, the signed question of a custodian that has to hear what all members remember.
    """

    approval: bytes
    answer: bytes = b""
    question: bytes = b""


@dataclass(frozen=True)
class SignedReply:
    """A reply whose signature was verified, or that was kept when it had been."""

    institution: str
    position: Position
    content: bytes

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and entry of the ledger that it was given at."""
        return self.position.epoch, self.position.sequence


class DebitLimits(TypedDict):
    """What binds a debit, beside its own terms."""

    study_limit: int
    max_attempts: int
    max_tries: int
    portion: Portion | None
    participants: tuple[str, ...]
    split: Split


class Admission(Protocol):
    """A run of an approved study, as this institution agreed to it; `admission` has the checks."""

    @property
    def plan(self) -> Plan:
        """What may be released, and at which price."""
        ...

    def admit(self, request: Request, content: bytes = b"") -> ReleaseTerms:
        """Return the terms of a signed request, or refuse it; decided without any record."""
        ...

    def bound(
        self, request: Request, terms: ReleaseTerms, content: bytes
    ) -> NDArray[np.float64] | QuestionGroup:
        """Return what R binds, checked: questions for answers, else float64 (entries,)."""
        ...

    def shown_geometry(self, request: Request, terms: ReleaseTerms, content: bytes) -> bytes:
        """Return the coordinates that came behind a step's parameters."""
        ...

    def debit(self, request: Request, cost: int) -> Debit:
        """Return what the answer to a request costs, as the ledger keeps it."""
        ...

    def limits(self, request: Request, split: Split) -> DebitLimits:
        """Return what binds a debit; `split` of the records, where one side of them is read."""
        ...


class Replay(Protocol):
    """Whether what a run's requests bind follows from its sums; `recomputation` does it."""

    def check(self, request: Request, last: LastSum, shown: bytes = b"") -> dict[str, bytes]:
        """Return where the run stands now, to be kept with the debit, or refuse."""
        ...

    def geometry(self, request: Request, progress: Mapping[str, bytes]) -> Geometry | None:
        """Return the coordinates that a step is taken in, if its study has any."""
        ...

    def check_rehearsed(self, request: Request, last: LastSum) -> None:
        """Refuse a step whose rehearsal, opened here, is not shown to have come to zeros."""
        ...


class CompanyCheck(Protocol):
    """With whom a run may begin; the home's `company` knows whose keys were compared here."""

    def check(self, roster: Roster, participants: Collection[str], *, own: str, plan: Plan) -> None:
        """Refuse a run with participants that are not known well enough, or too many."""
        ...


class PeerReplies(Protocol):
    """What others' signed replies show of their ledgers, and of this one; `peers` keeps it."""

    def saw(self, study: str, run: str, last: LastSum) -> tuple[SignedReply, ...]:
        """Return the signed replies that travel with a request, or stop where one is news."""
        ...

    def keep(self, rows: PeerRows, study: str, run: str, replies: Sequence[SignedReply]) -> None:
        """Keep the newest of each peer, inside the transaction that debits."""
        ...


class HeldRunKeys(Protocol):
    """The pair keys of runs, in memory alone; `key_agreement` makes and erases them."""

    def run_keys(self, study: str, run: str, opening: str) -> RunKeys:
        """Return an opening's keys at the step that they have reached, or refuse: KEYS_GONE."""
        ...

    def advance(self, study: str, run: str, keys: RunKeys) -> None:
        """Keep the keys of a later step in place of those before."""
        ...

    def pass_by(self, study: str, run: str, opening: str, step: int) -> None:
        """Erase the keys that an opening used up to `step`, itself included; none held: nothing."""
        ...


class NoiseDraws(Protocol):
    """An institution's noise, each draw given once; `noise_stock` draws ahead."""

    def draws(
        self, entries: int, scale: float, count: int
    ) -> Generator[NDArray[np.int64], None, None]:
        """Give int64 (entries,) noise, `count` times; each is zeros when the next is asked for."""
        ...


# -- the institution's log ------------------------------------------------------------------------


class RunEvent(Enum):
    """A custodian's act for a run without a release."""

    OPENED = "run opened"
    AGREED = "keys agreed"
    COSIGNED = "transcript co-signed"
    PUBLISHED = "rehearsal keys published"
    TOLD = "peers told"  # peers opened what this ledger knew nothing of
    FORKED = "ledger forked"  # two copies of an institution answered


class DecisionLog(Protocol):
    """Where decisions are written down. Every method raises LedgerError if it cannot."""

    def requested(self, request: Request) -> None:
        """A request was read, its signature holds, and it is about to be decided."""
        ...

    def refused(
        self,
        code: RefusalCode,
        rule: str,
        request: Request | None = None,
        *,
        asked: Term | None = None,
        limit: Term | None = None,
    ) -> bool:
        """A call was refused with `code`: the rule in words, what was asked and the limit.

        `request` is None where none could be read, or the call was no release. False where the
        refusal was counted and not written: it gets no line of its own in any other log either.
        """
        ...

    def released(self, request: Request, debit: int, position: Position) -> None:
        """An answer is about to be sent; `debit` in picomu2 (0: a rehearsal).

        `position` is the ledger's after the debit; for a repeat, the first answer's.
        """
        ...

    def noted(
        self, event: RunEvent, study: str, run: str, fingerprint: str, rule: str = ""
    ) -> None:
        """A run was opened, agreed on, co-signed or ended by its keys; `fingerprint` says which.

        Of what peers showed, `rule` says it in words.
        """
        ...

    def approved(self, study: str, approval: str, user: str) -> None:
        """A user approved a study; `approval` is the hash of the signed approval."""
        ...


class NoLog:
    """Writes no event: for simulations."""

    def requested(self, request: Request) -> None:
        """Do nothing."""

    def refused(
        self,
        code: RefusalCode,
        rule: str,
        request: Request | None = None,
        *,
        asked: Term | None = None,
        limit: Term | None = None,
    ) -> bool:
        """Write nothing, and leave every refusal to the process's log."""
        del code, rule, request, asked, limit
        return True

    def released(self, request: Request, debit: int, position: Position) -> None:
        """Do nothing."""

    def noted(
        self, event: RunEvent, study: str, run: str, fingerprint: str, rule: str = ""
    ) -> None:
        """Do nothing."""

    def approved(self, study: str, approval: str, user: str) -> None:
        """Do nothing."""


# -- inbox ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReportedRejection:
    """A person's rejection of a study: the part of it that is meant for the coordinator."""

    decision: Literal["rejected", "withdrawn"]
    reason: str


class ModelEvidence(Enum):
    """How much of a delivered model the custodian knows itself; more is better."""

    UNVERIFIED = 0  # the coordinator's signature, and nothing else
    FINISHED = 1  # it evaluated this very model in a run that it opened; too large to recompute
    RECOMPUTED = 2  # and its parameters came out here, step by step
    MEASURED = 3  # and so did the metrics on its card, from the evaluation's sum


class Inbox(Protocol):
    """The store of messages that an institution received."""

    def said_no(self, study: str) -> ReportedRejection | None:
        """Return the no that a person gave to a study that arrived, if it is to be told.

        Raises:
            LedgerError: the decision cannot be read.
        """
        ...

    def study_offered(self, offer: bytes, study: Study) -> None:
        """Keep a study that the coordinator signed, for a person to decide on.

        Raises:
            PolicyRefusal: too many wait already.
            LedgerError: it cannot be kept or logged.
        """
        ...

    def delivered(
        self,
        delivery: Delivery,
        envelope: bytes,
        model: bytes,
        card: bytes,
        evidence: ModelEvidence,
    ) -> None:
        """Keep a finished model of an approved study.

        Args:
            delivery: what the coordinator signed; hashes fit the two files.
            envelope: the signed bytes.
            model: a safetensors file.
            card: canonical JSON.
            evidence: how much of it the custodian knows itself.

        Raises:
            PolicyRefusal: another model of the same run is here, with no less evidence.
            ProtocolError: no model of this study.
            LedgerError: it cannot be kept or logged.
        """
        ...


@dataclass(frozen=True)
class NoInbox:
    """For simulations: messages are checked and not stored."""

    def said_no(self, study: str) -> ReportedRejection | None:  # noqa: ARG002 -- the interface's argument
        """Nobody decides."""
        return None

    def study_offered(self, offer: bytes, study: Study) -> None:
        """Keep nothing."""

    def delivered(
        self,
        delivery: Delivery,
        envelope: bytes,
        model: bytes,
        card: bytes,
        evidence: ModelEvidence,
    ) -> None:
        """Keep nothing."""
