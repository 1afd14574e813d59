"""A question to the administration of the institution's own custodian, over its socket."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from fieldfare.client.wire.admin_calls import (
    CUSTODIAN_WORDS,
    RELOAD,
    RELOAD_SECONDS,
    STATUS,
    CustodianStatus,
    ReloadReport,
)
from fieldfare.shared.desk.asking import DeskClient
from fieldfare.shared.desk.calls import Answered, DeskCall, Nothing
from fieldfare.shared.errors import ProtocolError, RunError, UsageError

START: Final = "fieldfare institution start"


def custodian_status(path: Path) -> CustodianStatus | None:
    """Return how the custodian stands that serves at `path`; None if none does.

    Raises:
        UsageError: the socket is another user's.
        RunError: there is one, and it gave no answer in time, or another version's.
    """
    return _answer(path, STATUS)


def request_reload(path: Path, seconds: float = RELOAD_SECONDS) -> ReloadReport | None:
    """Ask the custodian to reload the home; None if none is running.

    Raises:
        UsageError: the socket is another user's.
        RunError: there is one, and it gave no answer in time, or another version's.
    """
    return _answer(path, replace(RELOAD, seconds=seconds))


def _answer(path: Path, call: DeskCall[Nothing, Answered]) -> Answered | None:
    try:
        client = DeskClient(path, _owner(path), START, CUSTODIAN_WORDS)
        line = client.connect()
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except PermissionError:
        raise UsageError(
            f"{path}: expected a socket of this user, found another's: run this as the "
            "custodian's own user"
        ) from None
    except OSError as error:
        raise RunError(f"{path}: expected the custodian's socket, found: {error}") from None
    try:
        return client.ask_over(line, call, Nothing())
    except ProtocolError:
        raise RunError(
            f"{path}: expected an answer of this version's custodian, found another: restart it"
        ) from None


def _owner(path: Path) -> int:
    """Return who has to answer: this user; for root, whoever owns the socket's closed folder."""
    return os.geteuid() or path.absolute().parent.stat().st_uid
