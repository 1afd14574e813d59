"""What arrives from the coordinator and is kept, not answered: offered studies, finished models.

The custodian checks signatures and hashes before anything comes here; what an inbox keeps
runs nothing by itself. A person decides.
"""

from dataclasses import dataclass
from typing import Protocol

from fieldfare.shared.delivery import Delivery
from fieldfare.shared.study import Study


class Inbox(Protocol):
    """Where an institution keeps what was sent to it."""

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
    """Simulations: what arrives is looked at and kept nowhere."""

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
