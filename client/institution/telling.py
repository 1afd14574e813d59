"""After a decision: the running custodian applies it, and the screen says so."""

from typing import Final

from fieldfare.client.institution.admin_client import tell_to_follow
from fieldfare.client.institution.admin_status import Followed
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.settings import Settings, admin_socket_path
from fieldfare.shared.errors import RunError, UsageError

WAIT_SECONDS: Final = 30.0  # in which a custodian that loads nothing has long followed
LOAD_SECONDS: Final = 600.0  # after an approval, which loads records
NOBODY: Final = "no custodian is running: in force when it starts"


def told_custodian(home: Home, settings: Settings, seconds: float = WAIT_SECONDS) -> str:
    """Let a running custodian follow; returns lines for the screen.

    What was decided is in the home already: a custodian that gives no answer follows by itself
    within seconds of being free, so no failure here is one of the decision.
    """
    path = admin_socket_path(home, settings)
    try:
        followed = tell_to_follow(path, seconds)
    except (RunError, UsageError) as error:
        return f"the custodian follows as soon as it is free: it gave no answer yet ({error})"
    return NOBODY if followed is None else "\n".join(_lines(followed))


def _lines(followed: Followed) -> list[str]:
    if followed.trouble:
        return [f"in force now: NOTHING IS SERVED: {followed.trouble}"]
    return [
        "in force now",
        *(f"  {line}" for line in followed.changed),
        *(f"  left out: {one.id[:12]}: {one.reason}" for one in followed.left_out),
    ]
