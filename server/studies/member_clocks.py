"""What members' clocks said, each signed, when a run was opened last."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fieldfare.server.store.store import RunStore
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import KeyOffer, open_envelope
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.transcript.leaves import LeafKind


@dataclass(frozen=True)
class MemberClock:
    """What a member's clock said when a run was opened last.

    Attributes:
        said: its time.
        after: seconds after the run was begun, by this machine's clock; less than none: behind.
    """

    institution: str
    said: datetime
    after: float


def member_clocks(store: RunStore, roster: Roster | None) -> tuple[str, list[MemberClock]]:
    """Return the newest run that was opened, and what its members' clocks said; maybe nobody's."""
    for row in reversed(store.rows()):
        begun = store.restarts(row.run).begun
        offers = store.leaves_of(row.run, LeafKind.OFFER)
        if roster is None or begun is None or not offers:
            continue
        found = [_offered(one, roster, begun) for one in offers]
        newest_of = {one.institution: one for one in found if one is not None}
        return row.run, sorted(newest_of.values(), key=lambda one: one.institution)
    return "", []


def _offered(envelope: bytes, roster: Roster, begun: datetime) -> MemberClock | None:
    """Read the time in a member's key offer; nothing where its key is on the roster no more."""
    try:
        opened = open_envelope(envelope, KeyOffer, roster, Protection.EXACT)
        said = datetime.fromtimestamp(opened.body.time, UTC)
    except (ProtocolError, OverflowError, ValueError, OSError):
        return None
    return MemberClock(opened.signer, said, (said - begun).total_seconds())
