"""Who signs the head of a run's log: the coordinator's online key, into both logs or neither."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from fieldfare.server.store.head_log import SignedHeadTables
from fieldfare.shared.protocol.messages import Signer, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.transcript.head_log import origin_of
from fieldfare.shared.transcript.leaves import TreeHead, tree_head


@dataclass(frozen=True)
class HeadSigner:
    """Whoever signs heads: the coordinator's online key, and the log that its heads go into.

    Attributes:
        signer: of the online key.
        public: of the same, 32 bytes.
        origin: of the log of heads (`origin_of`).
    """

    signer: Signer
    public: bytes
    origin: str

    @classmethod
    def of(cls, signer: Signer, public: str, roster_key: str, log: int = 1) -> Self:
        """Return the signer of a coordinator's heads; both public keys as hex."""
        return cls(signer, bytes.fromhex(public), origin_of(roster_key, log))

    def sign(
        self, store: SignedHeadTables, study: str, run: str, hashes: Sequence[bytes]
    ) -> TreeHead:
        """Sign the head over a run's leaves and keep it, in the log of heads too.

        Args:
            store: where both logs are.
            study: the study's id.
            run: the run's id.
            hashes: of the run's leaves.
        """
        head = tree_head(study, run, hashes)
        with store.together():
            store.put_head(run, sign_envelope(head, COORDINATOR, self.signer), head.size)
            store.append_head(self.origin, run, head, self.signer, self.public)
        return head
