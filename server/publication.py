"""The roster that all members pin: published from the enrolments, one version after another."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.server.decisions import Decision, write_down
from fieldfare.server.enrolment import alone, enrolled
from fieldfare.server.founding import signing_public
from fieldfare.server.home import CoordinatorHome
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.identity import public_hex
from fieldfare.shared.messages import IdentitySigner
from fieldfare.shared.offers import offer_roster, open_roster
from fieldfare.shared.private_files import replace_private
from fieldfare.shared.roster import Member, Roster
from fieldfare.shared.sealed_files import read_sealed


@dataclass(frozen=True)
class Published:
    """A roster that institutions can pin.

    Attributes:
        roster: what it says.
        content: the sealed offer.
        fresh: it is a new version; False: nothing had changed.
    """

    roster: Roster
    content: bytes
    fresh: bool


def published_roster(home: CoordinatorHome) -> Roster | None:
    """Return the roster that was published last, None before the first one.

    Raises:
        UsageError: damaged, or another coordinator's.
    """
    if not home.roster.exists():
        return None
    try:
        return open_roster(read_sealed(home.roster), signing_public(home))
    except ProtocolError as error:
        raise UsageError(f"{home.roster}: {error}: restore it from your backup") from None


def publish(
    home: CoordinatorHome,
    key: Ed25519PrivateKey,
    *,
    multiplicity: int | None = None,
    above: int = 0,
) -> Published:
    """Sign the roster of everybody who is enrolled; where nothing changed, the last one again.

    Institutions refuse an older version, and another content under a version that they have.

    Args:
        home: the coordinator's.
        key: its signing key.
        multiplicity: institutions that may know the same person; None: as before, at first 1.
        above: the highest version that anybody may have; more than the last one here where that
            came from an old backup.

    Raises:
        UsageError: nobody is enrolled, or a paper or the last roster is damaged.
        OSError: the disk says no.
    """
    with alone(home):
        last = published_roster(home)
        made = _roster(home, public_hex(key), last, multiplicity)
        if last is not None and made == last and last.version > above:
            return Published(made, read_sealed(home.roster), fresh=False)
        version = max(last.version if last else 0, above) + 1
        made = made.model_copy(update={"version": version})
        content = offer_roster(made, IdentitySigner(key))
        facts: dict[str, str | int] = {
            "roster": made.hash,
            "version": version,
            "multiplicity": made.multiplicity,
        }
        write_down(home, Decision.ROSTER, facts)
        replace_private(home.roster, content)
    return Published(made, content, fresh=True)


def _roster(
    home: CoordinatorHome, coordinator: str, last: Roster | None, multiplicity: int | None
) -> Roster:
    listed = tuple(Member(id=one.institution, key=one.identity) for one in enrolled(home))
    if not listed:
        raise UsageError(
            "expected at least one enrolled institution, found none: fieldfare coordinator enrol "
            "FILE"
        )
    known_to = multiplicity or (last.multiplicity if last else 1)
    return Roster(
        version=last.version if last else 1,
        multiplicity=known_to,
        coordinator=coordinator,
        members=listed,
    )
