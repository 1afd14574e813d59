"""The alerts that an analyst works on: those of their own home, or of a group's casework folder.

Who decides needs no key, no ledger and no record: alerts hold what a card shows. What is signed in
a casework folder goes into the operator's store and log when it is collected.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fieldfare.client.alerts.act_check import ActOutcome, judge_act
from fieldfare.client.alerts.acts import CaseAct
from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.casework import (
    FILE_MODE,
    TERMS,
    Act,
    Casework,
    Deed,
    SignedAct,
    casework_of,
)
from fieldfare.client.alerts.entry_keys import EntryKeys, keys_beside
from fieldfare.client.alerts.feedback import Feedback
from fieldfare.client.alerts.kept_entries import KeptEntries
from fieldfare.client.alerts.store import (
    AlertStore,
    StoredAlert,
    copy_store,
    holds_more,
    is_later,
    open_store,
    read_store,
    store_at,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import HomeSettings, load_settings
from fieldfare.client.journal.entries import Event, printable
from fieldfare.client.journal.journal import Journal
from fieldfare.client.scoring.selection import LISTED, Members, left_out, parse_suppression
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.deletion import ALERTS, ENTRIES
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import (
    OTHERS,
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    folder_lock,
    os_user,
    path_problems,
    read_at_most,
)

MOST_SUPPRESSION_BYTES: Final = 64 * 1024 * 1024
_EVENTS: Final = {
    Deed.FEEDBACK: Event.FEEDBACK,
    Deed.LABELS: Event.LABELS,
    Deed.DRAFTED: Event.REPORT_DRAFTED,
    Deed.ACT: Event.ALERT_ACT,
    Deed.CONSOLE: Event.CONSOLE,
}
LOCK_SECONDS: Final = 5.0


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

    def act(self, one: Feedback | CaseAct, seen: int | None = None) -> ActOutcome:
        """Decide, take, give back, comment or undo, and write it into the log first.

        What cannot be logged must not happen.

        Args:
            one: the act, on an alert that is there.
            seen: how many acts its person saw (deciding.py).

        Raises:
            UsageError: there is no such alert.
            LedgerError: the log cannot be written; nothing is done then.
        """
        with self.store() as store, store.transaction():
            kept = _read_alert(store, one.alert, self.hidden(store))
            found = judge_act(store, kept, one, seen)
            if not found.problem and not found.repeated:
                with self._journal() as journal:
                    _log(journal, one, kept.alert, bytes_hash(one.key.encode()) if one.key else "")
                store.add(one)
        return found

    @property
    def entry_keys(self) -> EntryKeys:
        """Keys of kept entries, beside the home and not in it."""
        return EntryKeys(keys_beside(self.home.path), PRIVATE_FOLDER, PRIVATE_FILE)

    @property
    def second(self) -> str:
        """The persons who may sign second, in words."""
        return "another person has to decide it"

    def note(self, deed: Deed, *, kind: str = "", fingerprint: str = "", person: str = "") -> None:
        """Write down that this user, or `person`, exported labels or drafted a report."""
        details = {"kind": kind, "fingerprint": fingerprint}
        said = {name: value for name, value in details.items() if value}
        with self._journal() as journal:
            journal.append(_EVENTS[deed], person or os_user(), **said)

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
        return read_store(self.casework.store, self._read_uncollected)

    def hidden(self, store: AlertStore) -> set[str]:
        """Return the units whose alerts are hidden from all users."""
        if self.home is None or self.settings is None:
            return store.hidden()
        return {*store.hidden(), *suppressed_units(self.home, self.settings)}

    def codes(self, store: AlertStore) -> Mapping[str, str]:
        """Return the FIU's codes of indicators."""
        return store.codes()

    def act(self, one: Feedback | CaseAct, seen: int | None = None) -> ActOutcome:
        """Sign an act in the console's file; others who act meanwhile wait.

        Args:
            one: the act, on an alert that is there.
            seen: how many acts its person saw (deciding.py).

        Raises:
            UsageError: there is no such alert, no right, or this user is not the console's.
        """
        # Every member can hold this lock for ever: it spares honest ones a race, and bars nobody.
        with folder_lock(self.casework.decisions, LOCK_SECONDS):
            with self.store() as store:
                kept = _read_alert(store, one.alert, self.hidden(store))
                found = judge_act(store, kept, one, seen)
                over = store.forgotten()
            if not found.problem and not found.repeated:
                self.casework.blank(over)
                self.casework.sign(_make_act(one, kept.alert))
        return found

    @property
    def entry_keys(self) -> EntryKeys:
        """Keys of kept entries."""
        return self.casework.entry_keys

    @property
    def second(self) -> str:
        """The persons who may sign second, in words."""
        reviewers = ", ".join(self.casework.terms.reviewers) or "nobody yet"
        return f"another person has to decide it; one of the two is a reviewer ({reviewers})"

    def note(self, deed: Deed, *, kind: str = "", fingerprint: str = "", person: str = "") -> None:
        """Sign that labels were exported or a report was drafted; the operator logs it at once."""
        if self.home is not None and self.settings is not None:
            if person:
                self.casework.check_right(person)
            own = HomeQueue(self.home, self.settings)
            own.note(deed, kind=kind, fingerprint=fingerprint, person=person)
            return
        said = {"kind": kind, "fingerprint": fingerprint, "person": person or os_user()}
        self.casework.sign(Act(time=utc_now(), deed=deed, **said))

    def tell(self, kind: str, person: str, account: str = "") -> None:
        """Sign an act at the console, as `HomeQueue.tell` writes it down."""
        said = {"kind": kind, "person": person, "account": account}
        self.casework.sign(Act(time=utc_now(), deed=Deed.CONSOLE, **said))

    def _read_uncollected(self, collected: set[str]) -> Sequence[Feedback | CaseAct]:
        signed, _ = self.casework.acts(utc_now())
        fresh = {one.line: one for one in signed if one.line not in collected}
        found = (_act_of(self.casework, one) for one in fresh.values())
        return [one for one in found if one is not None]


def _act_of(casework: Casework, signed: SignedAct) -> Feedback | CaseAct | None:
    return casework.feedback_of(signed) or casework.case_act_of(signed)


def _make_act(one: Feedback | CaseAct, alert: Alert) -> Act:
    said: dict[str, Any] = (
        {"deed": Deed.ACT, "act": one.kind}
        if isinstance(one, CaseAct)
        else {
            "deed": Deed.FEEDBACK,
            "disposition": one.disposition,
            "party_role": one.party_role,
            "confidence": one.confidence,
        }
    )
    return Act(
        time=one.time,
        alert=alert.alert,
        study=alert.study,
        run=alert.run,
        note=one.note,
        key=one.key,
        person=one.user,
        **said,
    )


def _read_alert(store: AlertStore, alert: str, hidden: Collection[str]) -> StoredAlert:
    kept = store.kept(alert, hidden)
    if kept is None:
        raise UsageError("ALERT: expected the id of an alert in the queue, found another id")
    return kept


def _log(journal: Journal, one: Feedback | CaseAct, alert: Alert, fingerprint: str) -> None:
    """Write an act into the log, once: who was interrupted after it comes again with its key."""
    event = Event.ALERT_ACT if isinstance(one, CaseAct) else Event.FEEDBACK
    if fingerprint and journal.wrote(event, fingerprint=fingerprint):
        return
    said = {"kind": one.kind.value} if isinstance(one, CaseAct) else {}
    said |= {"fingerprint": fingerprint} if fingerprint else {}
    journal.append(event, printable(one.user), study=alert.study, run=alert.run, **said)


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
    with casework_store(casework) as store:
        yield store


@contextmanager
def casework_store(casework: Casework) -> Iterator[AlertStore]:
    """Open a group's store to write, and give the group a copy of what it then holds.

    Raises:
        UsageError: it is no store, locked, or cannot be written; or an earlier Fieldfare, which had
            one file, wrote on in the copy.
        OSError: the disk refuses it.
    """
    copy, own = casework.store, casework.operators_store
    if copy.exists() and not own.exists():
        copy_store(copy, own)  # an earlier Fieldfare had one file
    _check_not_behind(own, copy)
    with store_at(casework.operators_store, PRIVATE_FILE) as store:
        try:
            yield store
        finally:
            store.publish(copy, FILE_MODE, casework.path.stat().st_gid)


def _check_not_behind(own: Path, copy: Path) -> None:
    """Refuse to replace a copy that differs from the store, because it was written later.

    A copy has its store's time. A newer one has what an earlier version added, or lacks what its
    retention deleted, which must not come back. Where the store is newer, the copy may have more
    because that was deleted from the store since; but nothing later, or an older store was put
    back.
    """
    if not copy.exists():
        return
    newer = copy.stat().st_mtime_ns > own.stat().st_mtime_ns
    differs = newer and (holds_more(copy, own) or holds_more(own, copy))
    if differs or (not newer and is_later(copy, own)):
        raise UsageError(
            f"{copy}: expected what {own.name} holds, found other alerts or decisions (an earlier "
            f"version of Fieldfare wrote here, or an older {own.name} was put back): move "
            f"{own.name} away, and repeat: everything in {copy.name} is taken over then "
            "(docs/upgrade.md)"
        )


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


def keys_of(home: Home, settings: HomeSettings) -> EntryKeys:
    """Return the keys of kept entries: beside the home, or beside its group's folder."""
    casework = casework_of(home, settings)
    return (HomeQueue(home, settings) if casework is None else casework).entry_keys


def forget(
    store: AlertStore, keys: EntryKeys, settings: HomeSettings, now: datetime, journal: Journal
) -> int:
    """Delete alerts, comments and entries whose date has come; return how many alerts.

    The log says so: of each day's key its hash, before it goes; of alerts only until which day, for
    how many there were is nobody's business. Once a day, whether there were any or not: statements
    are made of it, for others.

    Raises:
        UsageError: the store cannot be written.
        LedgerError: the log cannot be written; keys stay.
        OSError: a key cannot be removed.
    """
    terms, user = settings.alerts, printable(os_user())
    for day, fingerprint in keys.due(now.date()):
        if not journal.wrote(Event.DELETED, fingerprint=fingerprint):
            journal.append(
                Event.DELETED,
                user,
                kind=ENTRIES,
                asked=day,
                fingerprint=fingerprint,
                rule=f"alerts.entries_days = {terms.entries_days}",
            )
    keys.forget(now.date())
    gone, _ = store.expire(now, terms.keep_days)
    until = (now - timedelta(days=terms.keep_days)).date().isoformat()
    said = {"kind": ALERTS, "asked": until, "rule": f"alerts.keep_days = {terms.keep_days}"}
    if not journal.wrote(Event.DELETED, **said):
        journal.append(Event.DELETED, user, **said)
    return gone


def statement_of(queue: AlertQueue, store: AlertStore, alert: str) -> KeptEntries | None:
    """Return an alert's entries; None where none were kept, or their day is over.

    Raises:
        UsageError: they were changed since, or others may change their key.
    """
    kept = store.entries(alert)
    if kept is None:
        return None
    day, closed = kept
    content = queue.entry_keys.open(closed, alert, day)
    return None if content is None else KeptEntries.unpacked(content)


@dataclass(frozen=True)
class CollectionCounts:
    """The counts of one collection.

    Attributes:
        taken: acts that were taken over.
        refused: acts of who has no right, about an alert that is not there, or done before.
        gone: acts that were taken over earlier and are no longer in any user's file.
        complaints: files and lines that count as nothing.
        over: files in which every act is about an alert that is gone; their comments are still
            there until their users act again. In a file that is not the console's, acts that
            were not taken over count no more.
    """

    taken: int
    refused: int
    gone: int
    complaints: tuple[str, ...]
    over: tuple[Path, ...] = ()


def collect(home: Home, casework: Casework) -> CollectionCounts:
    """Take persons' signed acts over into the operator's store and log, once each.

    Raises:
        UsageError: the store cannot be written: only its owner collects.
        LedgerError: the log cannot be written; nothing more is taken over then.
    """
    with folder_lock(home.log_folder, LOCK_SECONDS) as alone:
        if not alone:  # two at once would write one line twice
            raise UsageError("expected one collection at a time, found another under way: repeat")
        return _collect_acts(home, casework)


def _collect_acts(home: Home, casework: Casework) -> CollectionCounts:
    console = casework.terms.console
    with Journal.open(home.log_folder, clock=utc_now) as journal, casework_store(casework) as store:
        signed, complaints = casework.acts(utc_now(), store.collected() | store.forgotten())
        # A line about no alert stays, but where nobody adds to its file any more.
        ended = (one for one in signed if one.act.alert or one.file != console)
        store.let_go({one.line: one.act.alert for one in ended})
        done, over = store.collected(), store.forgotten()
        fresh = {one.line: one for one in signed if one.line not in done | over}
        taken = sum(_take(store, journal, casework, one) for one in fresh.values())
    gone = len(done - {one.line for one in signed})
    counting = {
        one.file
        for one in signed
        if one.line not in over and (one.file == console or one.line in done)
    }
    idle = sorted({one.file for one in signed} - counting)
    files = tuple(casework.signed_by(user) for user in idle)
    return CollectionCounts(taken, len(fresh) - taken, gone, tuple(complaints), files)


def _take(store: AlertStore, journal: Journal, casework: Casework, signed: SignedAct) -> bool:
    """Take one act over; False where it counts as nothing."""
    act, user = signed.act, printable(signed.user)
    if act.deed not in {Deed.FEEDBACK, Deed.ACT}:
        if not casework.counts(signed):
            return False
        named = {"kind": act.kind, "user": act.account}
        said = {key: printable(value) for key, value in named.items() if value}
        journal.append(
            _EVENTS[act.deed], user, **said, fingerprint=printable(act.fingerprint or signed.line)
        )
        store.collect(signed.line, None)
        return True
    found, alert = _act_of(casework, signed), store.alert(act.alert)
    if found is None or alert is None or store.knows(found.key, found.user):
        return False
    # First the log, as everywhere; who is interrupted in between finds the line there.
    _log(journal, found, alert, signed.line)
    store.collect(signed.line, found)
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
    files = {LISTED: home.suppression} if home.suppression.exists() else {}
    files |= {one.name: home.resolve(one.file) for one in settings.alerts.excluded if one.file}
    return {name: frozenset(_read_suppression(path)) for name, path in files.items()}


def _read_suppression(path: Path) -> dict[str, str]:
    problems = list(path_problems(path, OTHERS, PRIVATE_FILE))
    if problems:
        raise UsageError("\n".join(problems))
    try:
        content = read_at_most(path, MOST_SUPPRESSION_BYTES)
        return parse_suppression(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected UTF-8 text, found other bytes") from None
