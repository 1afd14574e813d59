"""The console's own file: accounts, enrolment links, sessions, known browsers, saved views.

It holds nothing of a customer. Of tokens it has hashes only; a second factor's secret stands in it
as it is, for it must be computed with: the file is 0600, of the console's own user.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from fieldfare.shared.console.credentials import (
    Entropy,
    code_step,
    factor_of,
    is_password,
    kept_token,
    new_token,
    no_password,
    password_hash,
)
from fieldfare.shared.console.rights import NOBODY, RIGHTS, ConsoleRole, Right
from fieldfare.shared.errors import UsageError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.sqlite.kind import DURABLE, WAL, DatabaseKind
from fieldfare.shared.system.home_folder import is_plain_name

FILE: Final = "console.sqlite"
BUSY_SECONDS: Final = 5.0
IDLE: Final = timedelta(minutes=30)
LONGEST: Final = timedelta(hours=10)  # of a session, however busy
PROVING: Final = timedelta(minutes=5)  # between the password and the second factor
LINK_LIVES: Final = timedelta(hours=24)
KNOWN_FOR: Final = timedelta(days=180)  # a browser
MOST_VIEWS: Final = 50  # saved by one person
MOST_TEXT: Final = 60  # characters of a saved view's name
MOST_QUERY: Final = 1000
SEEN_AGAIN: Final = timedelta(minutes=1)  # a session's use is written down so often

ACCOUNTS: Final = DatabaseKind(
    name="the console's file of accounts",
    error=UsageError,
    again="repeat",
    restore="restore it from your backup, or move it away and add the accounts again",
    otherwise="look at the disk and at the file's rights",
    pragmas=(WAL, *DURABLE),
    first=3,
    migrations=(
        (
            """
CREATE TABLE account (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, factor BLOB NOT NULL,
    step INTEGER NOT NULL, closed INTEGER NOT NULL
) STRICT
""",
            """
CREATE TABLE link (
    token TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account, until INTEGER NOT NULL
) STRICT
""",
            """
CREATE TABLE session (
    token TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account, proved INTEGER NOT NULL,
    begun INTEGER NOT NULL, seen INTEGER NOT NULL
) STRICT
""",
            """
CREATE TABLE browser (
    token TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account, until INTEGER NOT NULL
) STRICT
""",
            """
CREATE TABLE saved_view (
    account TEXT NOT NULL REFERENCES account, name TEXT NOT NULL, path TEXT NOT NULL,
    query TEXT NOT NULL, PRIMARY KEY (account, name)
) STRICT
""",
            """
CREATE TABLE vouched (subject TEXT PRIMARY KEY, account TEXT NOT NULL UNIQUE REFERENCES account)
STRICT
""",
        ),
    ),
    application=0x46434F4E,
)


class ConsoleAct(StrEnum):
    """What is written down of log-ins and accounts."""

    LOGGED_IN = "logged in"
    LOGGED_OUT = "logged out"
    HELD_BACK = "log-in held back"  # too many tries; at most once in five minutes for an account
    WRONG_CODE = "wrong code"  # after the right password
    ENROLLED = "enrolled"
    ADDED = "account added"
    LINKED = "new link made"  # also ends sessions, password and second factor
    CLOSED = "account closed"
    ROLE = "role changed"  # at the identity provider


Tell = Callable[[ConsoleAct, str, str], None]
"""Write an act into the log before it happens: the act, who did it, whose account."""


@dataclass(frozen=True)
class ConsoleAccount:
    """A person who may log in.

    Attributes:
        name: as typed at the log-in and written into the log.
        enrolled: whether a password and a second factor were set.
    """

    name: str
    role: ConsoleRole
    enrolled: bool
    closed: bool

    @property
    def rights(self) -> frozenset[Right]:
        """What this person may do."""
        return RIGHTS[self.role]


@dataclass(frozen=True)
class Session:
    """A visit with a log-in; `proved`: the second factor as well."""

    account: ConsoleAccount
    proved: bool

    @property
    def rights(self) -> frozenset[Right]:
        """What may be done in it: nothing before the second factor."""
        return self.account.rights if self.proved else NOBODY


@dataclass(frozen=True)
class SavedView:
    """A page with its filters, under a person's own name for it."""

    name: str
    path: str
    query: str


class AccountBook:
    """An open file of accounts; threads and processes may share it."""

    def __init__(self, database: Database, clock: Callable[[], datetime], entropy: Entropy) -> None:
        """Use `open_accounts`."""
        self._database, self._rows = database, database.rows
        self._clock, self.entropy = clock, entropy

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock().timestamp())

    # -- accounts ---------------------------------------------------------------------------------

    def all(self) -> list[ConsoleAccount]:
        """Return every account, by name."""
        return [_account(row) for row in self._rows(f"{_ACCOUNTS} ORDER BY name")]

    def account(self, name: str) -> ConsoleAccount | None:
        """Return the open or closed account of that name; a text that is not a name has none."""
        if not is_plain_name(name):  # a shell hands on what no text is, and SQLite takes none
            return None
        found = self._rows(f"{_ACCOUNTS} WHERE name = ?", name)
        return _account(found[0]) if found else None

    def add(
        self, name: str, role: ConsoleRole, tell: Callable[[str], None], subject: str = ""
    ) -> str:
        """Add an account; return the token of the link by which its person enrols, once.

        Args:
            name: of the account.
            role: its only one.
            tell: writes into the log whose account it is, before it counts.
            subject: who comes in by an identity provider, and needs no link: it is empty then.

        Raises:
            UsageError: the name is taken, or is none; or the subject has an account.
        """
        if not is_plain_name(name):
            raise UsageError(
                "NAME: expected letters, digits, dots, hyphens or underscores, at most 64, found "
                "something else"
            )
        with self._database.transaction():
            found = self._spelt(name)
            if found:
                raise UsageError(
                    f"{name}: expected a new name, in any case of its letters, found an account: "
                    f"`account link {found}` makes a new link for it"
                )
            tell(name)
            self._rows("INSERT INTO account VALUES (?, ?, '', x'', 0, 0)", name, role.value)
            return self._make_link(name, subject)

    def link(self, name: str, tell: Callable[[str], None], subject: str = "") -> str:
        """Begin an account anew: no password, no factor, no session; return a link's token.

        `tell` and `subject` as of `add`.

        Raises:
            UsageError: there is no such account, or the subject has another one.
        """
        with self._database.transaction():
            self._check_known(name)
            tell(name)
            self._empty_account(name)
            self._rows("UPDATE account SET closed = 0 WHERE name = ?", name)
            return self._make_link(name, subject)

    def expect(self, name: str, role: ConsoleRole, tell: Callable[[str], None]) -> None:
        """Add an account without a link: `new_links` makes one when the console starts.

        Arguments and errors as of `add`.
        """
        with self._database.transaction():
            self.add(name, role, tell)
            self._rows("DELETE FROM link WHERE account = ?", name)

    def uninvited(self) -> list[ConsoleAccount]:
        """Return the accounts that wait for their person, and have no link that counts."""
        query = (
            f"{_ACCOUNTS} WHERE password = '' AND closed = 0 AND name NOT IN (SELECT account FROM "
            "vouched UNION SELECT account FROM link WHERE until > ?) ORDER BY name"
        )
        return [_account(row) for row in self._rows(query, self.now)]

    def close(self, name: str, tell: Callable[[str], None]) -> None:
        """Close an account; its name stays in use, so that the log stays true.

        `tell` as of `add`.

        Raises:
            UsageError: there is no such account.
        """
        with self._database.transaction():
            self._check_known(name)
            tell(name)
            self._empty_account(name)
            self._rows("UPDATE account SET closed = 1 WHERE name = ?", name)

    def vouched(
        self, subject: str, role: ConsoleRole, tell: Callable[[ConsoleAct, str], None]
    ) -> ConsoleAccount:
        """Return the account of somebody whom an identity provider vouches for.

        Who runs the console made it for that very person: rights in casework go by its name, and
        names at a provider can be edited. Another role than before ends what sessions it has.

        Args:
            subject: who it is, to the provider.
            role: that the provider's groups give now.
            tell: writes into the log what happens to which account, before it counts.

        Raises:
            UsageError: nobody made an account for that person, or it was closed.
        """
        with self._database.transaction():
            found = self._rows("SELECT account FROM vouched WHERE subject = ?", subject)
            account = self.account(found[0][0]) if found else None
            if account is None:
                sub = subject.partition(" ")[2]
                raise UsageError(
                    "Nobody made an account for you here: ask who runs the console. The identity "
                    f"provider's number of you (sub) is {sub!a}."
                )
            if account.closed:
                raise UsageError("This account was closed: ask who runs the console.")
            if account.role is not role:
                tell(ConsoleAct.ROLE, account.name)
                self._rows("DELETE FROM session WHERE account = ?", account.name)
                self._rows("UPDATE account SET role = ? WHERE name = ?", role.value, account.name)
        return replace(account, role=role)

    def _spelt(self, name: str) -> str:
        """Return the account of that name in any letters: one person must not sign as two."""
        found = self._rows("SELECT name FROM account WHERE name = ? COLLATE NOCASE", name)
        return str(found[0][0]) if found else ""

    def _check_known(self, name: str) -> None:
        if self.account(name) is None:
            raise UsageError(
                f"expected the name of an account, found {name[:64]!a}: `account list` shows them"
            )

    def _empty_account(self, name: str) -> None:
        self._rows("UPDATE account SET password = '', factor = x'' WHERE name = ?", name)
        for table in ("link", "session", "browser"):
            self._rows(f"DELETE FROM {table} WHERE account = ?", name)

    def _make_link(self, name: str, subject: str) -> str:
        if subject:
            found = self._rows("SELECT account FROM vouched WHERE subject = ?", subject)
            if found and found[0][0] != name:
                raise UsageError(
                    f"--sub: expected a person without another account, found that of {found[0][0]}"
                )
            self._rows("REPLACE INTO vouched VALUES (?, ?)", subject, name)
            return ""
        token = new_token(self.entropy)
        until = self.now + int(LINK_LIVES.total_seconds())
        self._rows("INSERT INTO link VALUES (?, ?, ?)", kept_token(token), name, until)
        return token

    # -- enrolment --------------------------------------------------------------------------------

    def invited(self, link: str) -> ConsoleAccount | None:
        """Return whose link this is, if it still counts."""
        found = self._rows(
            "SELECT account FROM link WHERE token = ? AND until > ?", kept_token(link), self.now
        )
        return self.account(found[0][0]) if found else None

    def enrol(
        self, link: str, visit: str, password: str, code: str, tell: Callable[[str], None]
    ) -> ConsoleAccount:
        """Set the password and the second factor by a link, which counts no more then.

        Args:
            link: its token.
            visit: the token of the visit's cookie.
            password: the new one.
            code: of the second factor that follows from both tokens.
            tell: writes into the log who enrols, before it counts.

        Raises:
            UsageError: the link, the password or the code does not do.
        """
        kept, factor = password_hash(password, self.entropy), factor_of(link, visit)
        with self._database.transaction():
            account = self.invited(link)
            if account is None:
                raise UsageError(
                    "expected a link that was not used yet, found another: ask for one"
                )
            if account.name.lower() in password.lower():
                raise UsageError(
                    "expected a password without the account's name, found one with it"
                )
            step = code_step(factor, code, self.now, 0)
            if step is None:
                raise UsageError(
                    "expected the six digits that the authenticator shows now, found others: look "
                    "at the clock of the phone, and at the secret"
                )
            tell(account.name)
            self._empty_account(account.name)
            self._rows(
                "UPDATE account SET password = ?, factor = ?, step = ? WHERE name = ?",
                *(kept, factor, step, account.name),
            )
        return account

    # -- proofs -----------------------------------------------------------------------------------

    def proves_password(self, name: str, password: str) -> bool:
        """Tell whether a password is right; an unknown name takes the same work."""
        found = self._rows("SELECT password FROM account WHERE name = ? AND closed = 0", name)
        kept = str(found[0][0]) if found else ""
        right = is_password(password, kept or no_password())
        return right and bool(kept)

    def proves_code(self, name: str, code: str) -> bool:
        """Tell whether a code is right, and let it count no more."""
        with self._database.transaction():
            rows = self._rows(
                "SELECT factor, step FROM account WHERE name = ? AND closed = 0", name
            )
            if not rows or not rows[0][0]:
                return False
            step = code_step(bytes(rows[0][0]), code, self.now, int(rows[0][1]))
            if step is not None:
                self._rows("UPDATE account SET step = ? WHERE name = ?", step, name)
            return step is not None

    # -- sessions ---------------------------------------------------------------------------------

    def begin(self, name: str, *, proved: bool, instead_of: str = "") -> str:
        """Begin a session under a new token, which is returned; the one before ends.

        Args:
            name: whose.
            proved: whether the second factor was shown.
            instead_of: the token that the visit had so far: no token outlives a step up.
        """
        token, now = new_token(self.entropy), self.now
        with self._database.transaction():
            self.end(instead_of)
            self._rows("DELETE FROM session WHERE begun < ?", now - _seconds(LONGEST))
            self._rows(
                "INSERT INTO session VALUES (?, ?, ?, ?, ?)",
                *(kept_token(token), name, int(proved), now, now),
            )
        return token

    def session(self, token: str, *, used: bool = True) -> Session | None:
        """Return the session of a token while it counts; `used`: it counts longer for that."""
        now, kept = self.now, kept_token(token)
        found = self._rows("SELECT account, proved, begun, seen FROM session WHERE token = ?", kept)
        if not found:
            return None
        ((name, proved, begun, seen),) = found
        account = self.account(name)
        longest = _seconds(LONGEST if proved else PROVING)
        if (
            account is None
            or account.closed
            or not (0 <= now - begun < longest and 0 <= now - seen < _seconds(IDLE))
        ):
            self.end(token)
            return None
        if used and now - seen >= _seconds(SEEN_AGAIN):
            self._rows("UPDATE session SET seen = ? WHERE token = ?", now, kept)
        return Session(account, bool(proved))

    def end(self, token: str) -> None:
        """End a session."""
        self._rows("DELETE FROM session WHERE token = ?", kept_token(token))

    # -- known browsers ---------------------------------------------------------------------------

    def remember_browser(self, name: str) -> str:
        """Return a token for a browser in which somebody proved who they are."""
        token, now = new_token(self.entropy), self.now
        with self._database.transaction():
            self._rows("DELETE FROM browser WHERE until < ?", now)
            self._rows(
                "INSERT INTO browser VALUES (?, ?, ?)",
                *(kept_token(token), name, now + _seconds(KNOWN_FOR)),
            )
        return token

    def knows_browser(self, token: str, name: str) -> bool:
        """Tell whether that person proved who they are in this browser before."""
        query = "SELECT 1 FROM browser WHERE token = ? AND account = ? AND until > ?"
        return bool(self._rows(query, kept_token(token), name, self.now))

    # -- saved views ------------------------------------------------------------------------------

    def views(self, name: str, path: str) -> list[SavedView]:
        """Return a person's saved views of a page, by name."""
        query = "SELECT name, path, query FROM saved_view WHERE account = ? AND path = ? ORDER BY 1"
        return [SavedView(*row) for row in self._rows(query, name, path)]

    def save_view(self, name: str, view: SavedView) -> None:
        """Save a view; one of the same name is replaced.

        Raises:
            UsageError: its name is empty or long, or there are too many.
        """
        if not 0 < len(view.name) <= MOST_TEXT or not view.name.isprintable():
            raise UsageError(f"expected a name of 1 to {MOST_TEXT} characters, found another")
        if len(view.query) > MOST_QUERY:
            raise UsageError("expected the filters of a page, found a longer text")
        with self._database.transaction():
            self._rows(
                "INSERT OR REPLACE INTO saved_view VALUES (?, ?, ?, ?)",
                *(name, view.name, view.path, view.query),
            )
            ((count,),) = self._rows("SELECT count(*) FROM saved_view WHERE account = ?", name)
            if count > MOST_VIEWS:
                raise UsageError(f"expected at most {MOST_VIEWS} saved views, found more: drop one")

    def drop_view(self, name: str, view: str) -> None:
        """Forget a saved view."""
        self._rows("DELETE FROM saved_view WHERE account = ? AND name = ?", name, view)


_ACCOUNTS: Final = "SELECT name, role, password <> '', closed FROM account"


def _account(row: tuple[Any, ...]) -> ConsoleAccount:
    name, role, enrolled, closed = row
    return ConsoleAccount(name, ConsoleRole(role), bool(enrolled), bool(closed))


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


@contextmanager
def open_accounts(
    folder: Path | None, clock: Callable[[], datetime], entropy: Entropy
) -> Iterator[AccountBook]:
    """Open the accounts of a folder, made where there are none; None keeps them in memory.

    Raises:
        UsageError: it cannot be written, is locked, damaged, or open to others.
    """
    path = folder / FILE if folder else None
    with Database(ACCOUNTS, path, busy_seconds=BUSY_SECONDS) as database:
        yield AccountBook(database, clock, entropy)
