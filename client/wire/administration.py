"""A question to the administration of the institution's own custodian, over its socket."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from fieldfare.client.wire import admin_pb2 as pb
from fieldfare.client.wire.frames import unix_address
from fieldfare.shared.errors import RunError, UsageError

ADMIN_SERVICE: Final = pb.DESCRIPTOR.services_by_name["Administration"].full_name
LARGEST_ADMIN_FRAME: Final = 4 * 1024 * 1024  # bytes: a status of 10,000 studies
STATUS_SECONDS: Final = 5.0
_OPTIONS: Final = [
    ("grpc.max_receive_message_length", LARGEST_ADMIN_FRAME),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # the environment does not choose who is spoken to
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
]

T = TypeVar("T")


def ask_administration(
    path: Path, call: str, seconds: float, read: Callable[[bytes], T]
) -> T | None:
    """Return what the custodian that serves at `path` answers; None if none does.

    Args:
        path: of the administration's socket.
        call: its name.
        seconds: to wait for the answer.
        read: makes a value of the answer's frame.

    Raises:
        UsageError: the socket is another user's.
        RunError: there is one, and it gave no answer in time, or another version's.
    """
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
