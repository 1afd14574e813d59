"""The custodian on duty: replaced as a whole, between two calls, when the home changes.

A look at the home opens everything anew (settings, policy, coordinator, roster, identity,
ledger), loads what may run under it, and only then takes the place of what served before:
the socket stays, and a call in work is finished by whoever began it. Sums that are prepared
already are handed on. What cannot be opened any more closes the door instead: nothing is
served (every study is unknown) until a later look succeeds, and the status says why.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

from fieldfare.client.answering import answer
from fieldfare.client.custodian import Custodian
from fieldfare.client.institution.admin_status import (
    CustodianStatus,
    Followed,
    StudyNow,
    ledger_now,
    release_now,
)
from fieldfare.client.institution.building import (
    Clock,
    Custody,
    Institution,
    open_custody,
    open_institution,
    open_journal,
    records_loader,
)
from fieldfare.client.institution.decisions import LeftOut, resume
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.home_state import (
    decisions_state,
    records_state,
    standing_state,
)
from fieldfare.client.institution.in_force import InForce, changes
from fieldfare.client.institution.journal import Event, Journal
from fieldfare.client.institution.journal_decisions import CUSTODIAN, JournalDecisions
from fieldfare.client.institution.journal_terms import MAX_SENTENCE, printable
from fieldfare.client.institution.kept_sums import KeptSums
from fieldfare.client.institution.keys import public_identity
from fieldfare.client.institution.policy import limits
from fieldfare.client.institution.screen import SHORT
from fieldfare.client.institution.studies import State, kept_ids, read_decision, stamp
from fieldfare.client.institution.tally import Tally
from fieldfare.shared.errors import FieldfareError, LedgerError
from fieldfare.shared.noise import ExactNoise


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where a custodian stands.

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


class Guard:
    """Whoever is the custodian just now, and what puts another one in its place."""

    def __init__(self, ground: Ground, journal: Journal) -> None:
        """Use `guarding`, which puts the first custodian on duty."""
        self.journal = journal
        self.log = JournalDecisions(journal)
        self._told: SimpleQueue[Followed] = SimpleQueue()
        self._ground = ground
        self._home = Home(ground.home.absolute())
        self._tally = Tally(self.log, ground.clock)
        self._sums = KeptSums()
        self._started = ground.clock()
        self._following = Lock()
        self._turn = Lock()
        self._stack = ExitStack()  # of the custody
        self._left_out: tuple[LeftOut, ...] = ()
        self._seen: object = None
        self._records: object = None
        self._in_force = InForce(roster=0, roster_hash="", policy="", identity="", epoch=0)
        self._custody: Custody
        self._on_duty: Custodian

    def begin(self) -> Followed:
        """Put the first custodian on duty.

        Raises:
            FieldfareError: as `open_institution` and `open_custody`; nothing is on duty then.
        """
        with self._following:
            self._seen = self.look()  # first: what changes from here on is for the next look
            self._take()
            return self._followed(())

    def close(self) -> None:
        """Let go of the ledger; nobody may be asking any more."""
        self._stack.close()

    # -- the data plane -------------------------------------------------------------------

    def answer(self, call: str, frame: bytes) -> bytes:
        """Answer one frame of the data plane; nobody takes over before it is answered."""
        with self._turn:
            return answer(self._on_duty, call, frame)

    # -- administration -------------------------------------------------------------------

    @property
    def institution(self) -> Institution:
        """What the home said when it was read last."""
        return self._custody.institution

    @property
    def trouble(self) -> str:
        """Why nothing is served; empty where something may be."""
        return self._in_force.trouble

    def look(self) -> object:
        """Return what tells one state of the home from another."""
        return standing_state(self._home), decisions_state(self._home)

    def changed(self) -> bool:
        """Say whether the home looks different from what was seen last.

        Records are looked at only where a study is left out, perhaps because of them: files
        that somebody replaces while a study runs stop nothing.
        """
        if self.look() != self._seen or self._epoch() != self._in_force.epoch:
            return True
        return bool(self._left_out) and records_state(self.institution) != self._records

    def follow(self) -> Followed:
        """Take what the home says into force; when this returns, nothing else is.

        *Formal Guarantees.* Calls that come after it are answered under what was found, or are
        refused. Whatever cannot be read, checked or logged closes the door.
        """
        with self._following:
            before = self._in_force
            self._seen = self.look()
            try:
                self._take()
            except (FieldfareError, OSError) as error:
                self._stand_down(str(error))
            new = self._in_force.served - before.served
            followed = self._followed((*changes(before, self._in_force), *self._zero_lines(new)))
        if followed.changed or followed.left_out:
            self._told.put(followed)
        return followed

    def told(self) -> Iterator[Followed]:
        """Yield what looks brought since this was asked last, whoever asked for them."""
        while not self._told.empty():
            yield self._told.get()

    def status(self) -> CustodianStatus:
        """Return how things stand; waits for nobody."""
        in_force = self._in_force
        return CustodianStatus(
            institution=self.institution.settings.id,
            started=stamp(self._started),
            process=os.getpid(),
            busy=self._following.locked(),
            trouble=in_force.trouble,
            roster=in_force.roster,
            roster_hash=in_force.roster_hash,
            policy=in_force.policy,
            identity=in_force.identity,
            studies=[*self._served_now(in_force), *self._left_out_now()],
            releases=self._tally.releases,
            refusals=dict(sorted(self._tally.refusals.items())),
            last_release=release_now(self._tally.last),
            ledger=ledger_now(
                self._custody.ledger, limits(self.institution.policy), self._ground.clock()
            ),
        )

    # -- taking over ------------------------------------------------------------------------

    def _take(self) -> None:
        """Open the home anew and put its custodian on duty."""
        with ExitStack() as stack:
            ground, institution = self._ground, open_institution(self._ground.home)
            custody = stack.enter_context(
                open_custody(institution, ground.passphrase, ground.clock, self._tally)
            )
            records = records_state(institution)
            load = self._sums.loader(records_loader(institution, ground.environment), records)
            arrived = set(kept_ids(self._home))
            ready = arrived & self._sums.ready(records)
            left_out = resume(custody, load, ready)
            self._write_down(_read_in_force(custody))
            self._put_on_duty(custody, stack.pop_all())
            self._settle(records, left_out)
        # What has to be read first comes after: it takes long, and what serves must not wait.
        self._settle(records, left_out + resume(custody, load, arrived - ready))
        self._sums.keep_only(self._in_force.served)

    def _settle(self, records: object, left_out: tuple[LeftOut, ...]) -> None:
        """Take down what is served and what is not."""
        names = self._sums.ready(records) - {one.study for one in left_out}
        served = (s for s in names if read_decision(self._home, s).state is State.APPROVED)
        self._records, self._left_out = records, left_out
        self._in_force = replace(_read_in_force(self._custody), served=frozenset(served))

    def _put_on_duty(self, custody: Custody, stack: ExitStack) -> None:
        with self._turn:  # a call in work is finished first
            before, self._stack = self._stack, stack
            self._custody, self._on_duty = custody, custody.custodian
        before.close()

    def _stand_down(self, trouble: str) -> None:
        """Serve nothing: a custodian that was given no study knows none."""
        custody = self._custody
        idle = Custodian(custody.site, custody.ledger, ExactNoise(), self._tally)
        with self._turn:
            self._on_duty = idle
        stood = replace(self._in_force, trouble=trouble, served=frozenset(), epoch=self._epoch())
        with suppress(LedgerError):  # the door is closed whether or not that can be written down
            self._write_down(stood)
        self._in_force, self._left_out = stood, ()

    def _write_down(self, in_force: InForce) -> None:
        """Log what is in force from here on, where it is something else than before."""
        if in_force.ground == self._in_force.ground:
            return
        rule = in_force.trouble and f"nothing is served: {in_force.trouble}"
        rule = rule or f"roster version {in_force.roster} and the policy as fingerprinted"
        self.journal.append(
            Event.IN_FORCE,
            CUSTODIAN,
            rule=printable(rule, MAX_SENTENCE),
            version=in_force.roster,
            fingerprint=in_force.policy,
        )

    # -- what is seen and told --------------------------------------------------------------

    def _epoch(self) -> int:
        """Return the ledger's epoch; -1 where it cannot be read, so that a look follows."""
        try:
            return self._custody.ledger.position().epoch
        except LedgerError:
            return -1

    def _followed(self, changed: Collection[str]) -> Followed:
        return Followed(
            changed=list(changed), trouble=self.trouble, left_out=list(self._left_out_now())
        )

    def _served_now(self, in_force: InForce) -> Iterator[StudyNow]:
        for study in sorted(in_force.served):
            words = self._sums.words(study)
            yield StudyNow(id=study, serving=True, runs=self._runs_of(study), records=words)

    def _zero_lines(self, studies: Collection[str]) -> Iterator[str]:
        for study in sorted(studies):
            words = self._sums.words(study)
            if words:
                yield f"study {study[:SHORT]}: {words}"

    def _left_out_now(self) -> Iterator[StudyNow]:
        for study, reason in self._left_out:
            yield StudyNow(id=study, serving=False, reason=reason)

    def _runs_of(self, study: str) -> list[str]:
        try:
            names = self._custody.ledger.run_names(study)
        except LedgerError:
            return []
        return [name for name in names if ":" not in name]  # a run's id holds none


def _read_in_force(custody: Custody) -> InForce:
    institution = custody.institution
    return InForce(
        roster=institution.roster.version,
        roster_hash=institution.roster.hash,
        policy=hashlib.sha256(institution.home.policy.read_bytes()).hexdigest(),
        identity=public_identity(institution.home),
        epoch=custody.ledger.position().epoch,
    )


@contextmanager
def guarding(ground: Ground) -> Iterator[Guard]:
    """Put a home's custodian on duty; at the end nobody is and the ledger is closed.

    Raises:
        FieldfareError: as `open_institution`, `open_custody` and `open_journal`.
    """
    home = open_institution(ground.home).home
    guard = Guard(ground, open_journal(home, ground.clock))
    try:
        guard.begin()
        yield guard
    finally:
        guard.close()
