"""Where a console works: a home, and a folder of its own with the accounts."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.shared.console.accounts import FILE, AccountBook, ConsoleAct, open_accounts
from fieldfare.shared.console.credentials import Entropy
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, sync_folder

COOKIE: Final = "fieldfare"
_DIGITS: Final = 8


@dataclass(frozen=True)
class AccountsPlace(ABC):
    """An opened place.

    Attributes:
        home: whose screen it is: a home, or what stands for one.
        folder: the console's own.
        book: the accounts.
    """

    home: Path
    folder: Path
    book: AccountBook

    @property
    @abstractmethod
    def name(self) -> str:
        """Whose console it is, in titles."""

    @property
    @abstractmethod
    def beside_keys(self) -> bool:
        """Whether this process could read keys, so that the first page has to say it."""

    @abstractmethod
    def tell(self, act: ConsoleAct, person: str, account: str) -> None:
        """Write an act into the log before it happens: what, who did it, whose account."""

    @property
    def cookie(self) -> str:
        """A name of its own: browsers share cookies between the ports of one host."""
        place = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()
        return f"{COOKIE}-{place[:_DIGITS]}"


@contextmanager
def accounts_in(
    folder: Path, entropy: Entropy, *, make: bool, first: str
) -> Iterator[tuple[Path, AccountBook]]:
    """Open the accounts of a console's own folder; yields the folder, absolute, and them.

    Args:
        folder: the console's own.
        entropy: returns so many random bytes.
        make: the folder, where there is none.
        first: the command that adds the first account.

    Raises:
        UsageError: no folder of accounts, or one that others can reach.
    """
    folder = folder.absolute()
    if make and not folder.is_dir():
        folder.mkdir(PRIVATE_FOLDER)
        sync_folder(folder.parent)
    if not make and not (folder / FILE).exists():
        raise UsageError(
            f"{folder}: expected accounts, found none: add the first one with `{first}`"
        )
    with open_accounts(folder, utc_now, entropy) as book:
        yield folder, book
