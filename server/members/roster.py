"""The roster that was published last, read and verified."""

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.signed_files import open_roster, read_roster


def published_roster(home: CoordinatorHome) -> Roster | None:
    """Return the roster that was published last, None before the first one.

    Raises:
        UsageError: damaged, or another coordinator's.
    """
    if not home.roster.exists():
        return None
    try:
        return open_roster(read_roster(home.roster), roster_public(home))
    except ProtocolError as error:
        raise UsageError(f"{home.roster}: {error}: restore it from your backup") from None
