"""A client of the institution's own custodian, if one is running.

After a decision: the running custodian applies it, and the screen says so.
"""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from fieldfare.client.daemon.status import CustodianStatus, ReloadReport
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import HomeSettings, admin_socket_path
from fieldfare.client.wire import admin_pb2 as pb
from fieldfare.client.wire.frames import unix_address
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.terminal.texts import SHORT

ADMIN_SERVICE: Final = pb.DESCRIPTOR.services_by_name["Administration"].full_name
LARGEST_ADMIN_FRAME: Final = 4 * 1024 * 1024  # bytes: a status of 10,000 studies
STATUS_SECONDS: Final = 5.0
RELOAD_SECONDS: Final = 600.0  # a newly approved study's records are loaded meanwhile
_OPTIONS: Final = [
    ("grpc.max_receive_message_length", LARGEST_ADMIN_FRAME),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # the environment does not choose who is spoken to
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
]

T = TypeVar("T")


def custodian_status(path: Path) -> CustodianStatus | None:
    """Return how the custodian stands that serves at `path`; None if none does.

    Raises:
        UsageError: the socket is another user's.
        RunError: there is one, and it gave no answer in time.
    """
    return _ask(path, "Status", STATUS_SECONDS, _status)


def request_reload(path: Path, seconds: float = RELOAD_SECONDS) -> ReloadReport | None:
    """Ask the custodian to reload the home; None if none is running.

    Raises:
        UsageError: the socket is another user's.
        RunError: there is one, and it gave no answer in time.
    """
    return _ask(path, "Reload", seconds, _report)


def _status(content: bytes) -> CustodianStatus:
    return CustodianStatus.model_validate_json(pb.StatusAnswer.FromString(content).status)


def _report(content: bytes) -> ReloadReport:
    return ReloadReport.model_validate_json(pb.ReloadAnswer.FromString(content).report)


def _ask(path: Path, call: str, seconds: float, read: Callable[[bytes], T]) -> T | None:
    if not _is_served(path):
        return None
    credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    with grpc.secure_channel(unix_address(path.absolute()), credentials, _OPTIONS) as channel:
        send: Callable[..., bytes] = channel.unary_unary(f"/{ADMIN_SERVICE}/{call}")
        try:
            return read(send(b"", timeout=seconds))
        except grpc.RpcError as error:
            raise _no_answer(path, error) from None
        except (DecodeError, ValidationError):
            raise RunError(
                f"{path}: expected an answer of this version's custodian, found another: restart it"
            ) from None


def _is_served(path: Path) -> bool:
    """Say whether a living process listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(STATUS_SECONDS)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except PermissionError:
            raise UsageError(
                f"{path}: expected a socket of this user, found another's: run this as the "
                "custodian's own user"
            ) from None
        except OSError as error:
            raise RunError(f"{path}: expected the custodian's socket, found: {error}") from None
    return True


def _no_answer(path: Path, error: Any) -> RunError:
    code = error.code()  # what a call raises is the call, with its status; the stubs part them
    return RunError(
        f"{path}: expected an answer of the custodian, found {code.name}: see what it says, or "
        "restart it"
    )


# -- telling --------------------------------------------------------------------------------------

WAIT_SECONDS: Final = 30.0  # in which a custodian that loads nothing has long reloaded
LOAD_SECONDS: Final = 600.0  # after an approval, which loads records
NOBODY: Final = "no custodian is running: in force when it starts"


def notify_custodian(home: Home, settings: HomeSettings, seconds: float = WAIT_SECONDS) -> str:
    """Let a running custodian follow; returns lines for the screen.

    What was decided is in the home already: a custodian that gives no answer follows by itself
    within seconds of being free, so no failure here is one of the decision.
    """
    path = admin_socket_path(home, settings)
    try:
        report = request_reload(path, seconds)
    except (RunError, UsageError) as error:
        return f"the custodian follows as soon as it is free: it gave no answer yet ({error})"
    return NOBODY if report is None else "\n".join(_lines(report))


def _lines(report: ReloadReport) -> list[str]:
    if report.trouble:
        return [f"in force now: NOTHING IS SERVED: {report.trouble}"]
    return [
        "in force now",
        *(f"  {line}" for line in report.changed),
        *(f"  left out: {one.id[:SHORT]}: {one.reason}" for one in report.left_out),
    ]
