"""Where the coordinator's console works: a coordinator's home, and a folder of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.credentials import Entropy
from fieldfare.shared.console.place import AccountsPlace, accounts_in
from fieldfare.shared.errors import RunError

FIRST: Final = "fieldfare console account add NAME --role operator"


@dataclass(frozen=True)
class CoordinatorPlace(AccountsPlace):
    """An opened place; its `home` is a coordinator's folder."""

    @property
    def opened(self) -> CoordinatorHome:
        """The folder, looked at anew.

        Raises:
            UsageError: it is none, or others can reach it.
        """
        return CoordinatorHome.open(self.home)

    @property
    def name(self) -> str:
        """The coordinator's, as institutions see it."""
        return load_settings(self.opened).name

    @property
    def beside_keys(self) -> bool:
        """Whether this process could read keys: a reader of the folder can, so it could."""
        return True

    def tell(self, act: ConsoleAct, person: str, account: str) -> None:
        """Write an act into the log of decisions.

        Raises:
            RunError: the disk refuses it; the act does not happen.
        """
        self.write_down(act.value, person, {"account": account} if account else {})

    def write_down(self, act: str, person: str, facts: dict[str, str | int]) -> None:
        """Write down what a person did, before it happens; raises as `tell`."""
        home = self.opened
        try:
            write_down(home, DecisionKind.CONSOLE, {"act": act, "person": person, **facts})
        except OSError as error:
            raise RunError(
                f"{home.decisions}: expected a log that can be written, found: {error.strerror}: "
                "nothing was done; make room and repeat"
            ) from None


@contextmanager
def coordinator_place(
    home: Path, accounts: Path | None, entropy: Entropy, *, make: bool = False
) -> Iterator[CoordinatorPlace]:
    """Open the place of a console.

    Args:
        home: a coordinator's folder.
        accounts: the console's own folder; None: console/ in the home.
        entropy: returns so many random bytes.
        make: the folder, where there is none.

    Raises:
        UsageError: no coordinator's folder, no folder of accounts, or one that others can reach.
    """
    opened = CoordinatorHome.open(home).path
    own = opened / "console" if accounts is None else accounts
    with accounts_in(own, entropy, make=make, first=FIRST) as (folder, book):
        yield CoordinatorPlace(opened, folder, book)
