"""The custodian's administration, served to the user who runs the custodian.

The socket has mode 0600 in the run folder: to connect to a unix socket is to write to it
(unix(7)), so only this user, and root, ever reach it. There is nothing to be proved beyond
that, and nothing to be gained: its calls tell and look, and neither takes anything in.
"""

from typing import Final

from fieldfare.client.custodian.service import Service, ServiceLimits
from fieldfare.client.daemon.admin_client import ADMIN_SERVICE, LARGEST_ADMIN_FRAME
from fieldfare.client.daemon.reload import Guard
from fieldfare.client.home.settings import admin_socket_path
from fieldfare.client.institution.open import Institution
from fieldfare.client.wire import admin_pb2 as pb
from fieldfare.client.wire.sockets import UnixSocket

LARGEST_ADMIN_QUESTION: Final = 1024  # bytes: they are empty
OWNER_SOCKET: Final = 0o600
OWNER_FOLDER: Final = 0o700
# Calls at once, so that a status is told while a look loads records.
ADMIN_LIMITS: Final = ServiceLimits(
    calls=4, turns=4, arrive_seconds=5, turn_seconds=5, read_seconds=10, stop_seconds=5
)


def administration(guard: Guard) -> Service:
    """Return the administration of a custodian; what is in a question's frame is not read."""

    def status(_frame: bytes) -> bytes:
        return pb.StatusAnswer(status=guard.status().to_bytes()).SerializeToString()

    def follow(_frame: bytes) -> bytes:
        return pb.FollowAnswer(followed=guard.follow().to_bytes()).SerializeToString()

    return Service(
        name=ADMIN_SERVICE,
        answers={"Status": status, "Follow": follow},
        largest={"Status": LARGEST_ADMIN_QUESTION, "Follow": LARGEST_ADMIN_QUESTION},
        frame=LARGEST_ADMIN_FRAME,
    )


def admin_socket(institution: Institution) -> UnixSocket:
    """Return where the administration listens, as institution.toml says, for this user alone."""
    path = admin_socket_path(institution.home, institution.settings)
    return UnixSocket(path, mode=OWNER_SOCKET, directory_mode=OWNER_FOLDER)
