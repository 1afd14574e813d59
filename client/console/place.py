"""Where the institution's console works: a queue of alerts, and a folder of its own."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.client.alerts.alert_queue import AlertQueue, CaseworkQueue, open_queue
from fieldfare.client.desk.place import SOCKET, START, beside
from fieldfare.client.home.layout import INVENTED
from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.credentials import Entropy
from fieldfare.shared.console.place import AccountsPlace, accounts_in
from fieldfare.shared.desk.asking import DeskClient
from fieldfare.shared.errors import UsageError

AskDesk = Callable[[], DeskClient]
FIRST: Final = "fieldfare console account add NAME --role analyst"


@dataclass(frozen=True)
class ConsolePlace(AccountsPlace):
    """An opened place; its `home` is a home, or a casework folder."""

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
    def invented(self) -> str:
        """What made the home of people who do not exist, and what it found; else empty."""
        place = self.home / INVENTED
        return place.read_text("utf-8") if place.is_file() else ""

    @property
    def desk(self) -> DeskClient:
        """What answers for ledger and log; looked up anew, as the queue is."""
        return desk_of(self.queue)

    @property
    def beside_keys(self) -> bool:
        """Whether this process could read an institution's keys and ledger."""
        return _beside_keys(self.queue)

    def tell(self, act: ConsoleAct, person: str, account: str) -> None:
        """Write an act into the institution's log, or what becomes its line there."""
        self.queue.tell(act.value, person, account)


def desk_of(queue: AlertQueue) -> DeskClient:
    """Return the desk that answers for a queue's institution."""
    if isinstance(queue, CaseworkQueue):
        return DeskClient(beside(queue.casework), queue.casework.owner, START)
    return DeskClient(queue.home.run / SOCKET, os.geteuid(), START)


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
    with accounts_in(accounts, entropy, make=make, first=FIRST) as (folder, book):
        yield ConsolePlace(home, folder, book)
