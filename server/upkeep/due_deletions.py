"""What a coordinator has to delete by now: it is deleted, and a signed statement says so.

`coordinator start` does it at its start and once a day, `coordinator purge` at once, and a restore
before anybody can open the new home.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.store.store import RunStore
from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.messages import IdentitySigner


@dataclass(frozen=True)
class DeletedVectors:
    """What one call deleted and stated.

    Attributes:
        days: how long vectors are kept after a run.
        vectors: that were deleted.
        stated: deletions of which a statement was signed.
        unstated: those that wait for one, as the key could not be opened.
    """

    days: int
    vectors: int
    stated: int
    unstated: int


def delete_due(
    home: CoordinatorHome, store: RunStore, passphrase: bytes | None, now: datetime
) -> DeletedVectors:
    """Delete masked vectors whose time is over, and sign what was deleted.

    Without the key's passphrase all is deleted too; whoever has it signs later.

    Args:
        home: the coordinator's.
        store: its run store.
        passphrase: of the online key, where it has one.
        now: the present, with a time zone.

    Raises:
        StudyError: the settings cannot be read.
        RunError: the store cannot be written; what is not deleted is the next time.
    """
    days = load_settings(home).retention_days
    rule = f"retention_days = {days}: kept {days} days after the run's end"
    vectors = store.purge(now - timedelta(days=days), rule)
    stated = state_due(home, store, passphrase, now)
    return DeletedVectors(days, vectors, stated, store.unstated_deletions())


def state_due(
    home: CoordinatorHome, store: RunStore, passphrase: bytes | None, now: datetime
) -> int:
    """Sign what was deleted and has no statement; return how many, none where the key is closed.

    Raises:
        RunError: the store cannot be written.
    """
    if not store.statement_is_due():
        return 0
    try:
        signer = IdentitySigner(load_signing_key(home, passphrase))
    except KeysError:
        return 0
    return store.state_deletions(signer, now)
