"""The heads of a run's log that this institution signs, and its statements on them.

It follows the run while it answers: every sum that travels with a request is added up again
(`recomputation`). At the end the coordinator shows the log and the vectors of the sums that
travelled with no request. The institution builds the tree itself, replays the log as an auditor
does, and signs {head, "recomputed" or "hashes only", first misfit}. A log that hides an attempt
which this institution paid for does not fit at its last leaf.
"""

from dataclasses import dataclass
from typing import Final, Literal

from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.recomputation import kept_training
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.run_states import (
    FOLLOWED_STATE,
    HEAD_STATE,
    LEDGER_STATE,
    MEASURED_STATE,
)
from fieldfare.shared.audit.audit import LogAudit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.run.mismatch import expect
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import state_hash
from fieldfare.shared.run.results import UNKNOWN
from fieldfare.shared.run.state import RunState
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.heads import CosignedHead, SeenHead, ShownLog
from fieldfare.shared.transcript.leaves import Leaf, LeafKind, SumRecord, TreeHead
from fieldfare.shared.transcript.merkle import hashes_in

PAIR: Final = 64  # bytes: a request's hash, and that of the words that answered it

Checked = Literal["recomputed", "hashes only"]


class ShownVectors:
    """The vectors that came with a log, by their hash."""

    def __init__(self, vectors: tuple[bytes, ...]) -> None:
        """Hold vectors; nothing is believed of them but their hashes."""
        self._vectors = {bytes_hash(vector): vector for vector in vectors}

    def holds(self, name: str) -> bool:
        """Say whether the vector of this SHA-256 is among them."""
        return name in self._vectors

    def vector(self, name: str) -> bytes:
        """Return the vector of this SHA-256.

        Raises:
            ProtocolError: it is not among them.
        """
        if name not in self._vectors:
            raise ProtocolError("expected a vector that was shown, found none")
        return self._vectors[name]


@dataclass(frozen=True)
class Cosigner:
    """One institution's co-signatures."""

    party: Party
    ledger: Ledger

    def cosign(self, study: str, run: str, shown: ShownLog) -> bytes:
        """Return this institution's signature on a head, and on the part of the log that it knows.

        Raises:
            ProtocolError: a head of another run, over other leaves than are shown, or of a log
                that does not begin with the one that was co-signed here last.
            LedgerError: what was kept cannot be read or written.
        """
        head = self.party.from_coordinator(shown.head, TreeHead).body
        if (head.study, head.run) != (study, run):
            raise ProtocolError("expected a head of this run's transcript")
        leaves = [Leaf.from_bytes(line) for line in shown.log.split(b"\n")] if shown.log else []
        hashes = [leaf.hash for leaf in leaves] or list(hashes_in(shown.hashes))
        if (len(hashes), merkle.root(hashes).hex()) != (head.size, head.root):
            raise ProtocolError("expected the leaves that the head is over, found others")
        self._check_growth(study, run, hashes)
        checked, misfit = self._known(study, run, leaves, shown.vectors)
        seen = SeenHead.of(shown.head, hashes).to_bytes()
        self.ledger.put_run_state(LEDGER_STATE, f"{HEAD_STATE}{study}:{run}", seen)
        body = CosignedHead(
            study=study, run=run, size=head.size, root=head.root, checked=checked, misfit=misfit
        )
        return self.party.sign(body)

    def _check_growth(self, study: str, run: str, hashes: list[bytes]) -> None:
        """Check that a log begins with the one that was co-signed last (RFC 6962, section 2.1).

        Raises:
            ProtocolError: it shrank or changed.
        """
        kept = kept_head(self.ledger, study, run)
        if kept is None:
            return
        before = kept.opened(self.party.roster)
        if before.size > len(hashes) or merkle.root(hashes[: before.size]).hex() != before.root:
            raise ProtocolError("expected the log that was co-signed here, grown: it was changed")

    def _known(
        self, study: str, run: str, leaves: list[Leaf], vectors: tuple[bytes, ...]
    ) -> tuple[Checked, int | None]:
        """Return how much of a log is known here, and the first leaf that does not fit."""
        if not leaves or self.party.protection is not Protection.EXACT:
            return "hashes only", None
        followed = self.ledger.run_state(study, FOLLOWED_STATE + run) or b""
        training = kept_training(self.ledger, study, run)
        trust = Trust(self.party.roster.roster_key, self.party.roster)
        replay = _Replay(LogAudit(trust, study, run, ShownVectors(vectors)), followed, training)
        for index, leaf in enumerate(leaves):
            try:
                replay.take(leaf)
            except ProtocolError:
                return replay.checked, index
        if (
            not self.ledger.paid(study, run) <= replay.opened
        ):  # an attempt that was paid for is hidden, or said to be free
            return replay.checked, len(leaves) - 1
        if replay.measured is not None:
            self.ledger.put_run_state(study, MEASURED_STATE + run, replay.measured.encode())
        return replay.checked, None


class _Replay:
    """Takes a log's leaves in order, beside what this institution added up itself."""

    def __init__(self, log: LogAudit, followed: bytes, training: TrainingState | None) -> None:
        self._log = log
        self._training = training
        self._own = {
            followed[at : at + PAIR // 2].hex(): followed[at + PAIR // 2 : at + PAIR].hex()
            for at in range(0, len(followed), PAIR)
        }
        self._recomputed = True
        self.opened: set[str] = set()  # requests whose answers may have been paid for

    @property
    def checked(self) -> Checked:
        """How much of the log so far is known here."""
        return "recomputed" if self._recomputed else "hashes only"

    @property
    def measured(self) -> str | None:
        """The run's metrics, where they were read off its sum here; "" where noise hid them."""
        releases = self._log.releases
        results = None if releases is None else releases.state.results
        return results.metrics if results is not None and results.measured else None

    def take(self, leaf: Leaf) -> None:
        """Verify the next leaf.

        Raises:
            ProtocolError: no honest log has it here, or this institution knows another one.
        """
        before = self._log.releases
        sums = before.state.recomputed if before else 0
        self._log.take(leaf)
        releases = self._log.releases
        if releases is None:
            return
        attempt = releases.state.attempt
        if attempt is not None and attempt.opened:
            self.opened.add(attempt.hash)
        if leaf.kind is LeafKind.SUM:
            record, state = SumRecord.from_bytes(leaf.content), releases.state
            self._take_sum(record, state, added=state.recomputed > sums)
        elif leaf.kind in {LeafKind.PARAMETERS, LeafKind.GUARD}:
            releases.state = self._with_own(releases.state)

    def _take_sum(self, record: SumRecord, state: RunState, *, added: bool) -> None:
        own = self._own.get(record.request)
        if own is not None:
            expect("the sum that was added up here", own, record.words)
        rehearsed = state.asked is not None and state.asked.body.kind is ReleaseKind.REHEARSAL
        self._recomputed &= added or own is not None or rehearsed  # its zeros hold no record's part

    def _with_own(self, state: RunState) -> RunState:
        """Go on with the own state of training where it stands: after a step, or after the guard.

        What a guard chose has no hash in its record: the evaluation's request has to bind it.
        """
        own, found = self._training, state.results.parameters
        if own is None or not state.stands_at(own):
            return state
        if found != UNKNOWN:
            expect("the parameters that were recomputed here", state_hash(own), found)
        return state.resumed(own)


def kept_head(ledger: Ledger, study: str, run: str) -> SeenHead | None:
    """Return the head of a run that was co-signed here last.

    Raises:
        LedgerError: what was kept cannot be read.
    """
    content = ledger.run_state(LEDGER_STATE, f"{HEAD_STATE}{study}:{run}")
    if content is None:
        return None
    try:
        return SeenHead.from_bytes(content)
    except ProtocolError as error:
        raise LedgerError(f"expected a head that was co-signed here: {error}") from None


def kept_heads(ledger: Ledger) -> list[SeenHead]:
    """Return the last co-signed head of every run.

    Raises:
        LedgerError: what was kept cannot be read.
    """
    names = [name for name in ledger.run_names(LEDGER_STATE) if name.startswith(HEAD_STATE)]
    ids = [name.removeprefix(HEAD_STATE).split(":", 1) for name in names]
    found = (kept_head(ledger, study, run) for study, run in ids)
    return [head for head in found if head is not None]
