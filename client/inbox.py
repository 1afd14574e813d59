"""The inbox: messages of the coordinator that are stored, not answered (offers, finished models).

The custodian checks signatures and hashes before a message comes here; a stored message starts
nothing by itself. A person decides.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from fieldfare.shared.delivery import Delivery
from fieldfare.shared.study import Study


@dataclass(frozen=True)
class SaidNo:
    """A person's rejection of a study: the part of it that is meant for the coordinator."""

    decision: Literal["rejected", "withdrawn"]
    reason: str


class Inbox(Protocol):
    """The store of messages that an institution received."""

    def said_no(self, study: str) -> SaidNo | None:
        """Return the no that a person gave to a study that arrived, if it is to be told.

        Raises:
            LedgerError: what was decided cannot be read.
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
        *,
        recomputed: bool = False,
    ) -> None:
        """Keep a finished model of an approved study.

        Args:
            delivery: what the coordinator signed; hashes fit the two files.
            envelope: the signed bytes.
            model: a safetensors file.
            card: canonical JSON.
            recomputed: whether the custodian came to the same model, step by step.

        Raises:
            PolicyRefusal: another model of the same run was delivered before.
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
        *,
        recomputed: bool = False,
    ) -> None:
        """Keep nothing."""
