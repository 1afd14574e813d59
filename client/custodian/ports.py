"""Events that a custodian writes to its institution's log: requests, refusals, releases, approvals.

A log that cannot be written raises, and then nothing leaves: `released` is called after the
debit and the reply's bytes are committed and before they are sent, so that a repeat of the
request gets the same bytes once the log can be written again (docs/design.md, "The door").

The inbox: messages of the coordinator that are stored, not answered (offers, finished models).

The custodian checks signatures and hashes before a message comes here; a stored message starts
nothing by itself. A person decides.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from fieldfare.client.ledger.budget import Position
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.messages import Request
from fieldfare.shared.study.study import Study

Term = str | int | float | bool


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
class SaidNo:
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

    def said_no(self, study: str) -> SaidNo | None:
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

    def said_no(self, study: str) -> SaidNo | None:  # noqa: ARG002 -- the interface's argument
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
