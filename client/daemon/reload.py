"""The custodian that serves: replaced as a whole, between two calls, when the home changes.

A reload opens the home anew (settings, policy, coordinator, roster, identity, ledger), loads what
may run under it, and only then takes the place of what served before: the socket stays, and a call
in work is finished by the custodian that began it. A home that cannot be opened closes the door
instead: nothing is served (every study is unknown) until a later reload succeeds, and the status
says why. So it is where a study's units may have other ids than before, or its rows failed at a
value (`Custodian.stop`): no study is answered then, whichever it was.

It is no restart by a supervisor, because a restart loses two things. Keys of runs are in memory
only (ADR 0018): an approval of another study would cost every run in work an attempt out of its
spares. And prepared sums are in memory: every study's records would be read again. A reload hands
both on, sums for as long as the records look the same.

Changes are seen by modification time, size and inode of the home's files, without reading them;
commands need not wait for that, they ask for a reload. A study whose files changed, and nothing
else, is answered from the earlier sums until they are read: no run in work is refused meanwhile.
A database server's content cannot be seen from outside: it is read again when the custodian starts.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Final

from fieldfare.client.custodian.answering import answer
from fieldfare.client.custodian.custodian import Custodian, opened_runs
from fieldfare.client.daemon.status import CustodianCounts, ledger_now, release_now
from fieldfare.client.home.keys import public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import limits
from fieldfare.client.home.studies import State, kept_ids, read_decision, stamp
from fieldfare.client.institution.institution import (
    Clock,
    Institution,
    open_institution,
    open_journal,
)
from fieldfare.client.journal.decisions import CUSTODIAN, JournalDecisions, Tally
from fieldfare.client.journal.entries import MAX_SENTENCE, Event, printable
from fieldfare.client.journal.journal import Journal
from fieldfare.client.wire.admin_calls import CustodianStatus, ReloadReport, StudyStatus
from fieldfare.shared.errors import FieldfareError, LedgerError
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.comparison import KnownKeys
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import SteadyClock
from fieldfare.shared.system.late import late
from fieldfare.shared.terminal.texts import SHORT

if TYPE_CHECKING:
    from fieldfare.client.approvals.approval import OmittedStudy
    from fieldfare.client.institution.open import Custody, LoadedSums, Loader

# What opens a home and reads its records is loaded when that is done, not with what answers.
open_custody: Final = late("fieldfare.client.institution.open", "open_custody")
records_loader: Final = late("fieldfare.client.institution.open", "records_loader")
resume: Final = late("fieldfare.client.approvals.approval", "resume")


@dataclass(frozen=True, kw_only=True)
class ActiveConfig:
    """The state in force.

    Attributes:
        roster, roster_hash: version and hash.
        policy: sha256 of policy.toml.
        identity: public key, hex.
        epoch: of the ledger.
        known: keys of others that people here compared, or that members say.
        served: ids of the studies that are answered for.
        trouble: why nothing is served; empty where something may be.
    """

    roster: int
    roster_hash: str
    policy: str
    identity: str
    epoch: int
    known: KnownKeys = field(default_factory=KnownKeys)
    served: frozenset[str] = frozenset()
    trouble: str = ""

    @property
    def terms(self) -> tuple[object, ...]:
        """The state that every study rests on."""
        keys = (self.identity, self.known)
        return (self.roster_hash, self.policy, keys, self.epoch, self.trouble)


APPROVALS_READ: Final = (
    "approvals were read again: fieldfare institution status says what is served"
)


def changes(old: ActiveConfig, new: ActiveConfig) -> Iterator[str]:
    """Yield one line for everything that is different in `new`: for people, not for a log.

    Which studies are answered for depends on records too: whether they can be read.
    """
    yield from settings_changes(old, new)
    for study in sorted(new.served - old.served):
        yield f"study {study[:SHORT]} is served"
    for study in sorted(old.served - new.served):
        yield f"study {study[:SHORT]} is no longer served"


def settings_changes(old: ActiveConfig, new: ActiveConfig) -> Iterator[str]:
    """Yield one line for everything that is different in `new` and depends on no record."""
    if old.roster_hash != new.roster_hash:
        yield f"roster version {new.roster} (was {old.roster})"
    if old.policy != new.policy:
        yield "the policy changed: its budget holds from the next release on"
    if old.identity != new.identity:
        yield "another identity signs"
    if old.epoch != new.epoch:
        yield f"ledger epoch {new.epoch} (was {old.epoch})"
    if old.known != new.known:
        yield "others' keys as they are known now: they count from the next opening on"
    if new.trouble and old.trouble != new.trouble:
        yield "nothing is served"
    if old.trouble and not new.trouble:
        yield "studies are served again"


# -- home state -----------------------------------------------------------------------------------

FileState = tuple[str, int, int, int]
HomeState = tuple[tuple[FileState, ...], tuple[FileState, ...]]  # settings, approvals


def file_state(path: Path) -> FileState:
    """Return a file's fingerprint, also where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, -1, 0
    return str(path), found.st_mtime_ns, found.st_size, found.st_ino


def config_state(home: Home) -> tuple[FileState, ...]:
    """Return the state of everything that a custodian stands on.

    Of the ledger only which file it is: its content changes with every release, while another
    file in its place is a copy that was put back.
    """
    named = (home.settings, home.policy, home.coordinator_key, home.roster, home.comparisons)
    keys = (home.identity_key, home.identity_uri, home.identity_public)
    ledger, *_, inode = file_state(home.ledger)
    return (*map(file_state, (*named, *keys)), (ledger, 0, 0, inode))


def decisions_state(home: Home) -> tuple[FileState, ...]:
    """Return the state of the home's studies and decisions; empty where they cannot be listed."""
    try:
        return tuple(file_state(path) for path in sorted(home.studies.iterdir()))
    except OSError:
        return ()


@dataclass(frozen=True)
class RecordsState:
    """The state of an institution's records.

    Attributes:
        said: settings, and the files that say how records are read and split.
        files: those that hold them.
    """

    said: tuple[object, ...]
    files: tuple[FileState, ...]


def records_state(institution: Institution) -> RecordsState:
    """Return the state of an institution's records: their settings, and the files named there."""
    settings, files = institution.settings, _states(_named_files(institution, "path"))
    named = [institution.home.holdout_key, *_named_files(institution, "mapping", "uri_file")]
    said = (settings.records, settings.partitions, tuple(sorted(_states(named))))
    return RecordsState(said, tuple(sorted(files)))


def _named_files(institution: Institution, *names: str) -> Iterator[Path]:
    for source in institution.settings.records:
        for name in names:
            text = getattr(source, name, None)
            if text is not None:
                yield institution.home.resolve(text)


def _states(paths: Iterable[Path]) -> Iterator[FileState]:
    for path in paths:
        yield file_state(path)
        if path.is_dir():
            yield from (file_state(inside) for inside in path.rglob("*"))


# -- kept sums ------------------------------------------------------------------------------------


class KeptSums:
    """A loader that remembers."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[str, tuple[RecordsState, LoadedSums]] = {}

    def loader(self, load: "Loader", state: RecordsState) -> "Loader":
        """Return a loader: it calls `load`, or returns the earlier sums of the same `state`."""

        def loaded(study: Study) -> "LoadedSums":
            """Return a study's sums, read again where the home has changed."""
            if study.id not in self.ready(state):
                self._kept[study.id] = (state, load(study))
            return self._kept[study.id][1]

        return loaded

    def former(self, study: Study) -> "LoadedSums":
        """Return a study's sums as they were read last, whatever changed since."""
        return self._kept[study.id][1]

    def words(self, study: str) -> str:
        """Return how many rows of a study's records count as zero; empty where none does."""
        return self._kept[study][1].words if study in self._kept else ""

    def ready(self, state: RecordsState) -> frozenset[str]:
        """Return the ids of studies that need no loading in this `state`."""
        return frozenset(study for study, (then, _) in self._kept.items() if then == state)

    def behind(self, state: RecordsState) -> set[str]:
        """Return the ids of studies of which files alone changed since they were read."""
        alike = {study for study, (then, _) in self._kept.items() if then.said == state.said}
        return alike - self.ready(state)

    def keep_only(self, studies: Collection[str]) -> None:
        """Forget all other studies: their sums take as much memory as their records."""
        self._kept = {study: kept for study, kept in self._kept.items() if study in studies}


# -- reloader -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CustodianInputs:
    """The home and the inputs that a custodian is built from.

    Attributes:
        home: the institution's folder.
        passphrase: of the identity, or None.
        environment: variables that may hold a database's address.
        clock: returns the present with a time zone.
    """

    home: Path
    passphrase: bytes | None
    environment: Mapping[str, str]
    clock: Clock


class CustodianReloader:
    """A serving custodian, and its replacement when the home changes."""

    def __init__(self, inputs: CustodianInputs, journal: Journal) -> None:
        """Use `custodian_reloader`, which starts the first custodian."""
        self.journal = journal
        self.log = JournalDecisions(journal)
        self._told: SimpleQueue[ReloadReport] = SimpleQueue()
        self._inputs = inputs
        self._clock = SteadyClock(inputs.clock)  # of the ledger; the log's may be wrong and say so
        self._home = Home(inputs.home.absolute())
        self._tally = Tally(self.log, inputs.clock)
        self._sums = KeptSums()
        self._started = inputs.clock()
        self._following = Lock()
        self._turn = Lock()
        self._stack = ExitStack()  # of the custody
        self._left_out: tuple[OmittedStudy, ...] = ()
        self._seen: HomeState = ((), ())
        self._records: RecordsState | None = None
        self._active = ActiveConfig(roster=0, roster_hash="", policy="", identity="", epoch=0)
        self._custody: Custody
        self._serving: Custodian

    def begin(self) -> ReloadReport:
        """Start the first custodian.

        Raises:
            FieldfareError: as `open_institution` and `open_custody`; nothing is served then.
        """
        with self._following:
            self._seen = self.look()  # first: what changes from here on is for the next look
            self._take(None)
            return self._report(())

    def close(self) -> None:
        """Close the ledger; no call may be in work."""
        self._stack.close()

    # -- the data plane -------------------------------------------------------------------

    def answer(self, call: Call, frame: bytes) -> bytes:
        """Answer one frame of the data plane; no replacement happens before it is answered."""
        with self._turn:
            return answer(self._serving, call, frame)

    # -- administration -------------------------------------------------------------------

    @property
    def institution(self) -> Institution:
        """The home's settings when it was read last."""
        return self._custody.institution

    @property
    def trouble(self) -> str:
        """Why nothing is served; empty where something may be."""
        return self._active.trouble

    def look(self) -> HomeState:
        """Return the home's fingerprint."""
        return config_state(self._home), decisions_state(self._home)

    def changed(self) -> bool:
        """Tell whether the home looks different from the last look.

        Records are looked at only where a study is left out, or nothing is served, perhaps because
        of them: files that somebody replaces while a study runs stop nothing.
        """
        if self.look() != self._seen or self._epoch() != self._active.epoch:
            return True
        waits = bool(self._left_out) or bool(self.trouble)
        return waits and records_state(self.institution) != self._records

    def reload(self) -> ReloadReport:
        """Reload the home: when this returns, its present content alone is in force.

        *Formal Guarantees.* Calls that come after it are answered under what was found, or are
        refused. Whatever cannot be read, checked or logged closes the door.
        """
        with self._following:
            before, seen = self._active, self._seen
            self._seen = self.look()
            try:
                self._take(self._serving)
            except (FieldfareError, OSError) as error:
                self._stand_down(str(error))
            new = self._active.served - before.served
            report = self._report(changes(before, self._active), self._zero_lines(new))
            lines = [*settings_changes(before, self._active)]
            lines += [APPROVALS_READ] if seen[1] != self._seen[1] else []
        if lines:
            self._told.put(ReloadReport(changed=lines, trouble=self.trouble, left_out=[]))
        return report

    def told(self) -> Iterator[ReloadReport]:
        """Yield the changes of all looks since the last call, whichever caller asked for them.

        For the log: neither whether there is a line nor what it says depends on a record, so it
        tells of approvals and not of the studies that are served, which may lack their records.
        """
        while not self._told.empty():
            yield self._told.get()

    def counts(self) -> CustodianCounts:
        """Return counts of what was answered since the start, more finely than a status."""
        tally = self._tally
        return CustodianCounts(
            kinds=dict(tally.kinds),
            acts={act.name.lower(): count for act, count in dict(tally.acts).items()},
            repeated=tally.repeated,
        )

    def status(self) -> CustodianStatus:
        """Return the present status; waits for no lock."""
        active = self._active
        return CustodianStatus(
            institution=self.institution.settings.id,
            started=stamp(self._started),
            process=os.getpid(),
            busy=self._following.locked(),
            trouble=active.trouble,
            roster=active.roster,
            roster_hash=active.roster_hash,
            policy=active.policy,
            identity=active.identity,
            studies=[*self._served_now(active), *self._left_out_now()],
            releases=self._tally.releases,
            refusals=dict(sorted(self._tally.refusals.items())),
            last_release=release_now(self._tally.last),
            ledger=ledger_now(
                self._custody.ledger, limits(self.institution.policy), self._inputs.clock()
            ),
        )

    # -- taking over ------------------------------------------------------------------------

    def _take(self, before: Custodian | None) -> None:
        """Open the home anew; its custodian serves in the place of the one before."""
        with ExitStack() as stack:
            inputs, institution = self._inputs, open_institution(self._inputs.home)
            custody = stack.enter_context(
                open_custody(institution, inputs.passphrase, self._clock, self._tally)
            )
            records = records_state(institution)
            load = self._sums.loader(records_loader(institution, inputs.environment), records)
            arrived = set(kept_ids(self._home))
            ready = arrived & self._sums.ready(records)
            behind = arrived & self._sums.behind(records)
            left_out = resume(custody, load, ready)
            behind -= {one.study for one in resume(custody, self._sums.former, behind)}
            if custody.bound:
                self._told.put(ReloadReport(changed=[custody.bound], trouble="", left_out=[]))
            self._write_down(_read_active(custody))
            self._begin_serving(custody, stack, before)
            self._settle(records, left_out, behind)
        # What has to be read first comes after: it takes long, and what serves must not wait.
        late = resume(custody, load, arrived - ready)
        for one in late:  # it may be answered from its former sums
            custody.custodian.leave_out(one.study)
        self._write_down(_read_active(custody))  # what was read may have stopped it
        self._sums.keep_only(self._settle(records, left_out + late))

    def _settle(
        self,
        records: RecordsState,
        left_out: "tuple[OmittedStudy, ...]",
        behind: Collection[str] = (),
    ) -> frozenset[str]:
        """Store which studies are served and which are not; `behind`: from their former sums.

        Returns those that are loaded, also where nothing is served.
        """
        names = self._sums.ready(records).union(behind) - {one.study for one in left_out}
        loaded = frozenset(s for s in names if read_decision(self._home, s).state is State.APPROVED)
        active = _read_active(self._custody)
        self._records, self._left_out = records, left_out
        self._active = replace(active, served=frozenset() if active.trouble else loaded)
        return loaded

    def _begin_serving(
        self, custody: "Custody", stack: ExitStack, before: Custodian | None
    ) -> None:
        with self._turn:  # a call in work is finished first
            if before is not None:
                custody.custodian.take_over(*before.hand_over())
            old, self._stack = self._stack, stack.pop_all()
            self._custody, self._serving = custody, custody.custodian
        old.close()

    def _stand_down(self, trouble: str) -> None:
        """Serve nothing: a custodian that was given no study knows none."""
        custody = self._custody
        idle = Custodian(custody.party, custody.ledger, ExactNoise(), self._tally)
        with self._turn:
            self._serving = idle
        stood = replace(self._active, trouble=trouble, served=frozenset(), epoch=self._epoch())
        with suppress(LedgerError):  # the door is closed whether or not that can be written down
            self._write_down(stood)
        self._active, self._left_out = stood, ()

    def _write_down(self, active: ActiveConfig) -> None:
        """Log the state in force from here on, where it differs from before."""
        if active.terms == self._active.terms:
            return
        rule = active.trouble and f"nothing is served: {active.trouble}"
        roster, compared = active.roster, len(active.known.compared)
        rule = rule or (
            f"roster version {roster} and the policy as fingerprinted; {compared} keys compared"
        )
        self.journal.append(
            Event.IN_FORCE,
            CUSTODIAN,
            rule=printable(rule, MAX_SENTENCE),
            version=active.roster,
            fingerprint=active.policy,
        )

    # -- what is seen and told --------------------------------------------------------------

    def _epoch(self) -> int:
        """Return the ledger's epoch; -1 where it cannot be read, so that a look follows."""
        try:
            return self._custody.ledger.position().epoch
        except LedgerError:
            return -1

    def _report(self, changed: Iterable[str], records: Iterable[str] = ()) -> ReloadReport:
        return ReloadReport(
            changed=list(changed),
            records=list(records),
            trouble=self.trouble,
            left_out=list(self._left_out_now()),
        )

    def _served_now(self, active: ActiveConfig) -> Iterator[StudyStatus]:
        for study in sorted(active.served):
            words = self._sums.words(study)
            yield StudyStatus(id=study, serving=True, runs=self._runs_of(study), records=words)

    def _zero_lines(self, studies: Collection[str]) -> Iterator[str]:
        for study in sorted(studies):
            words = self._sums.words(study)
            if words:
                yield f"study {study[:SHORT]}: {words}"

    def _left_out_now(self) -> Iterator[StudyStatus]:
        for study, reason in self._left_out:
            yield StudyStatus(id=study, serving=False, reason=reason)

    def _runs_of(self, study: str) -> list[str]:
        try:
            names = self._custody.ledger.run_names(study)
        except LedgerError:
            return []
        return list(opened_runs(names))


def _read_active(custody: "Custody") -> ActiveConfig:
    institution = custody.institution
    return ActiveConfig(
        roster=institution.roster.version,
        roster_hash=institution.roster.hash,
        policy=hashlib.sha256(institution.home.policy.read_bytes()).hexdigest(),
        identity=public_identity(institution.home),
        epoch=custody.ledger.position().epoch,
        known=institution.company.known,
        trouble=custody.custodian.trouble,
    )


@contextmanager
def custodian_reloader(inputs: CustodianInputs) -> Iterator[CustodianReloader]:
    """Serve with a home's custodian; at the end stop it and close the ledger.

    Raises:
        FieldfareError: as `open_institution`, `open_custody` and `open_journal`.
    """
    home = open_institution(inputs.home).home
    with open_journal(home, inputs.clock) as journal:
        reloader = CustodianReloader(inputs, journal)
        try:
            reloader.begin()
            yield reloader
        finally:
            reloader.close()
