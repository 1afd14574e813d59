"""The alerts that an analyst works on: those of an own home, or of a group's casework folder.

Who decides needs no key, no ledger and no record: alerts hold what a card shows. What is signed in
a casework folder goes into the operator's store and log when it is collected.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.client.alerts.alert import Alert, Feedback
from fieldfare.client.alerts.casework import FILE_MODE, TERMS, Act, Casework, Deed, Signed
from fieldfare.client.alerts.store import AlertStore, open_store, read_store, store_at
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import HomeSettings, load_settings
from fieldfare.client.journal.entries import Event, printable
from fieldfare.client.journal.journal import Journal
from fieldfare.client.scoring.exclusion import Members, left_out
from fieldfare.client.scoring.selection import LISTED, parse_suppression
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import (
    OTHERS,
    PRIVATE_FILE,
    os_user,
    path_problems,
    read_at_most,
)

MOST_SUPPRESSION_BYTES: Final = 64 * 1024 * 1024
_EVENTS: Final = {
    Deed.FEEDBACK: Event.FEEDBACK,
    Deed.LABELS: Event.LABELS,
    Deed.DRAFTED: Event.REPORT_DRAFTED,
    Deed.CONSOLE: Event.CONSOLE,
}


@dataclass(frozen=True)
class HomeQueue:
    """The queue of the one user whose home it is: alerts are in the home's `scoring/`."""

    home: Home
    settings: HomeSettings

    def store(self) -> AbstractContextManager[AlertStore]:
        """Open the alerts."""
        return open_store(self.home)

    def hidden(self, store: AlertStore) -> set[str]:
        """Return the units whose alerts are hidden from all users."""
        return {*store.hidden(), *suppressed_units(self.home, self.settings)}

    def codes(self, store: AlertStore) -> Mapping[str, str]:
        """Return the FIU's codes of indicators."""
        del store
        return self.settings.alerts.indicator_codes

    def decide(self, store: AlertStore, alert: Alert, feedback: Feedback) -> None:
        """Write a decision down, in the log first: what cannot be logged must not happen."""
        with self._journal() as journal:
            journal.append(Event.FEEDBACK, feedback.user, study=alert.study, run=alert.run)
        store.add(feedback)

    @property
    def second(self) -> str:
        """The persons who may sign second, in words."""
        return "another one has to decide it"

    def note(self, deed: Deed, *, kind: str = "", fingerprint: str = "") -> None:
        """Write down that labels were exported or a report was drafted."""
        details = {"kind": kind, "fingerprint": fingerprint}
        said = {name: value for name, value in details.items() if value}
        with self._journal() as journal:
            journal.append(_EVENTS[deed], os_user(), **said)

    def tell(self, kind: str, person: str, account: str = "") -> None:
        """Write down an act at the console: of a log-in or an account.

        Args:
            kind: what.
            person: who did it.
            account: whose account it is about.
        """
        said = {"user": account} if account else {}
        with self._journal() as journal:
            journal.append(Event.CONSOLE, person, kind=kind, **said)

    def _journal(self) -> Journal:
        return Journal.open(self.home.log_folder, clock=utc_now)


@dataclass(frozen=True)
class CaseworkQueue:
    """A group's queue.

    Attributes:
        casework: the folder.
        home, settings: where the operator opened it from the home; None for everybody else.
    """

    casework: Casework
    home: Home | None = None
    settings: HomeSettings | None = None

    def store(self) -> AbstractContextManager[AlertStore]:
        """Open the alerts to read, with signed acts that were not collected yet."""
        return read_store(self.casework.store, self._uncollected)

    def hidden(self, store: AlertStore) -> set[str]:
        """Return the units whose alerts are hidden from all users."""
        if self.home is None or self.settings is None:
            return store.hidden()
        return {*store.hidden(), *suppressed_units(self.home, self.settings)}

    def codes(self, store: AlertStore) -> Mapping[str, str]:
        """Return the FIU's codes of indicators."""
        return store.codes()

    def decide(self, store: AlertStore, alert: Alert, feedback: Feedback) -> None:
        """Sign a decision in this user's own file."""
        del store
        self._sign(
            Act(
                time=feedback.time, deed=Deed.FEEDBACK, alert=alert.alert, study=alert.study,
                run=alert.run, disposition=feedback.disposition, party_role=feedback.party_role,
                confidence=feedback.confidence, note=feedback.note, person=_other(feedback.user),
            )
        )  # fmt: skip

    @property
    def second(self) -> str:
        """The persons who may sign second, in words."""
        reviewers = ", ".join(self.casework.terms.reviewers) or "nobody yet"
        return f"another one has to decide it, one of both a reviewer ({reviewers})"

    def note(self, deed: Deed, *, kind: str = "", fingerprint: str = "") -> None:
        """Sign that labels were exported or a report was drafted."""
        self._sign(Act(time=utc_now(), deed=deed, kind=kind, fingerprint=fingerprint))

    def tell(self, kind: str, person: str, account: str = "") -> None:
        """Sign an act at the console, as `HomeQueue.tell` writes it down."""
        self._sign(
            Act(
                time=utc_now(), deed=Deed.CONSOLE, person=_other(person), kind=kind, account=account
            )
        )

    def _sign(self, act: Act) -> None:
        self.casework.sign(act)
        if self.home is not None:
            collect(self.home, self.casework)

    def _uncollected(self, collected: set[str]) -> Sequence[Feedback]:
        signed, _ = self.casework.acts(utc_now())
        fresh = {one.line: one for one in signed if one.line not in collected}
        found = map(self.casework.feedback_of, fresh.values())
        return [one for one in found if one is not None]


def _other(user: str) -> str:
    """Return who acts at the console; nobody where a user acts for themselves."""
    return "" if user == os_user() else user


AlertQueue = HomeQueue | CaseworkQueue


def open_queue(path: Path) -> AlertQueue:
    """Open the queue at a home or a casework folder.

    Raises:
        UsageError: neither, or one that another user can change or read.
        StudyError: institution.toml or casework.toml has mistakes.
    """
    try:
        is_casework = (path / TERMS).exists()
    except OSError as error:
        raise UsageError(
            f"{path}: expected a folder that this user can reach, found: {error.strerror}"
        ) from None
    if is_casework:
        return CaseworkQueue(Casework.open(path.absolute()))
    home = Home.open(path)
    settings = load_settings(home)
    casework = casework_of(home, settings)
    return CaseworkQueue(casework, home, settings) if casework else HomeQueue(home, settings)


def casework_of(home: Home, settings: HomeSettings) -> Casework | None:
    """Return the group's folder that institution.toml names; None where it names none.

    Raises:
        UsageError: it cannot be reached, or another user can change it.
        StudyError: casework.toml has mistakes.
    """
    named = settings.casework.folder
    return Casework.open(home.resolve(named)) if named else None


@contextmanager
def scoring_store(home: Home, settings: HomeSettings) -> Iterator[AlertStore]:
    """Open the store that `score` writes into: the home's own, or the group's, collected first.

    Raises:
        UsageError: it is no store, locked, or cannot be written.
    """
    casework = casework_of(home, settings)
    if casework is None:
        with open_store(home) as store:
            yield store
        return
    collect(home, casework)
    with store_at(casework.store, FILE_MODE) as store:
        yield store


def tell(
    store: AlertStore, home: Home, settings: HomeSettings, by_column: Collection[str] = ()
) -> None:
    """Write down which alerts nobody is shown, and the FIU's codes.

    Args:
        store: of `scoring_store`.
        home: whose files list units.
        settings: whether a group reads the store, which can read no file of the home.
        by_column: units that a column of the records excluded when they were last scored.
    """
    read_by_others = bool(settings.casework.folder)
    listed = suppressed_units(home, settings) if read_by_others else frozenset()
    store.tell({*by_column, *listed}, settings.alerts.indicator_codes)


@dataclass(frozen=True)
class Collected:
    """The counts of one collection.

    Attributes:
        taken: acts that were taken over.
        refused: acts of who has no right, or about an alert that is not there.
        gone: acts that were taken over earlier and are no longer in any user's file.
        complaints: files and lines that count as nothing.
    """

    taken: int
    refused: int
    gone: int
    complaints: tuple[str, ...]


def collect(home: Home, casework: Casework) -> Collected:
    """Take persons' signed acts over into the operator's store and log, once each.

    Raises:
        UsageError: the store cannot be written: only its owner collects.
        LedgerError: the log cannot be written; nothing more is taken over then.
    """
    signed, complaints = casework.acts(utc_now())
    with (
        Journal.open(home.log_folder, clock=utc_now) as journal,
        store_at(casework.store, FILE_MODE) as store,
    ):
        done = store.collected()
        fresh = {one.line: one for one in signed if one.line not in done}
        taken = sum(_take(store, journal, casework, one) for one in fresh.values())
    gone = len(done - {one.line for one in signed})
    return Collected(taken, len(fresh) - taken, gone, tuple(complaints))


def _take(store: AlertStore, journal: Journal, casework: Casework, signed: Signed) -> bool:
    """Take one act over; False where it counts as nothing."""
    act, user = signed.act, printable(signed.user)
    if act.deed is not Deed.FEEDBACK:
        if act.deed is not Deed.CONSOLE and not casework.terms.may_decide(signed.user):
            return False
        named = {"kind": act.kind, "user": act.account}
        said = {key: printable(value) for key, value in named.items() if value}
        journal.append(
            _EVENTS[act.deed], user, **said, fingerprint=printable(act.fingerprint or signed.line)
        )
        store.collect(signed.line, None)
        return True
    feedback, alert = casework.feedback_of(signed), store.alert(act.alert)
    if feedback is None or alert is None:
        return False
    # First the log, as everywhere: after a crash it says twice what happened once, never less.
    journal.append(Event.FEEDBACK, user, study=alert.study, run=alert.run, fingerprint=signed.line)
    store.collect(signed.line, feedback)
    return True


def suppressed_units(home: Home, settings: HomeSettings) -> frozenset[str]:
    """Return the units of the suppression list and of every excluded group that a file lists.

    Raises:
        UsageError: as `listed_members`.
    """
    return left_out(listed_members(home, settings))


def listed_members(home: Home, settings: HomeSettings) -> Members:
    """Return the units that files exclude: the suppression list, and groups by their name.

    Raises:
        UsageError: a file is named and absent, others can reach it, or it cannot be read.
    """
    named = settings.alerts.suppression
    path = home.resolve(named) if named else home.suppression
    files = {LISTED: path} if named or path.exists() else {}
    files |= {one.name: home.resolve(one.file) for one in settings.alerts.excluded if one.file}
    return {name: frozenset(_listed(path)) for name, path in files.items()}


def _listed(path: Path) -> dict[str, str]:
    problems = list(path_problems(path, OTHERS, PRIVATE_FILE))
    if problems:
        raise UsageError("\n".join(problems))
    try:
        content = read_at_most(path, MOST_SUPPRESSION_BYTES)
        return parse_suppression(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected UTF-8 text, found other bytes") from None
