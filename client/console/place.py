"""Where a console works: a queue of alerts, and a folder of its own with the accounts."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.client.alerts.alert_queue import AlertQueue, CaseworkQueue, open_queue
from fieldfare.shared.console.accounts import FILE, AccountBook, open_accounts
from fieldfare.shared.console.credentials import Entropy
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, sync_folder

COOKIE: Final = "fieldfare"
_DIGITS: Final = 8


@dataclass(frozen=True)
class ConsolePlace:
    """An opened place.

    Attributes:
        home: a home, or a casework folder.
        folder: the console's own.
        book: the accounts.
    """

    home: Path
    folder: Path
    book: AccountBook

    @property
    def queue(self) -> AlertQueue:
        """The alerts, opened anew: settings and rights count as they stand at this moment.

        Raises:
            UsageError, StudyError: as `open_queue`.
        """
        return open_queue(self.home)

    @property
    def name(self) -> str:
        """Whose alerts these are."""
        queue = self.queue
        if isinstance(queue, CaseworkQueue):
            return queue.casework.terms.institution
        return queue.settings.id

    @property
    def cookie(self) -> str:
        """A name of its own: browsers share cookies between the ports of one host."""
        place = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()
        return f"{COOKIE}-{place[:_DIGITS]}"

    @property
    def beside_keys(self) -> bool:
        """Whether this process could read an institution's keys and ledger."""
        return _beside_keys(self.queue)


def _beside_keys(queue: AlertQueue) -> bool:
    return not isinstance(queue, CaseworkQueue) or queue.home is not None


@contextmanager
def console_place(
    home: Path, accounts: Path | None, entropy: Entropy, *, make: bool = False
) -> Iterator[ConsolePlace]:
    """Open the place of a console.

    Args:
        home: a home, or a casework folder.
        accounts: the console's own folder; None: console/ in a home.
        entropy: returns so many random bytes.
        make: the folder, where there is none.

    Raises:
        UsageError: neither home nor casework folder, no folder of accounts, or one that others
            can reach.
    """
    if _beside_keys(open_queue(home)) and accounts is None:
        accounts = home / "console"
    if accounts is None:
        raise UsageError(
            "--accounts: expected the console's own folder, found none: a casework folder is the "
            "operator's, so give one that this user alone can reach"
        )
    folder = accounts.absolute()
    if make and not folder.is_dir():
        folder.mkdir(PRIVATE_FOLDER)
        sync_folder(folder.parent)
    if not make and not (folder / FILE).exists():
        raise UsageError(
            f"{folder}: expected accounts, found none: add the first one with `fieldfare "
            "institution console account add NAME --role analyst`"
        )
    with open_accounts(folder, utc_now, entropy) as book:
        yield ConsolePlace(home, folder, book)
