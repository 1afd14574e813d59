"""A decision that a person made in a browser, proved here and done as on the terminal.

The console's word counts for nothing: the home has to allow it (`console.decides`), the person is
one of the home's own deciders and shows a fresh code of a factor that the console never held, and
an approval needs the roster's safety code, which is compared with the roster that is pinned here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Final

from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.daemon.telling import notify_custodian
from fieldfare.client.desk.calls import DecisionChoice, DecisionForm, DecisionOutcome
from fieldfare.client.desk.deciders import open_deciders
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import RejectionDisclosure, find_id
from fieldfare.client.institution.institution import (
    ledger_of,
    open_journal,
)
from fieldfare.client.journal.entries import Event
from fieldfare.shared.console.turns import Turns
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.messages import check_reason
from fieldfare.shared.system.late import late
from fieldfare.shared.terminal.texts import duration

ASKED: Final = "console"  # what decisions and the log say of where it was said
NOBODY: Final = "nobody known"
TRIES: Final = 5  # codes at once, then one in
EVERY_SECONDS: Final = 300.0

study_approval: Final = late("fieldfare.client.desk.approving", "StudyApproval")


@dataclass
class StudyDesk:
    """Takes decisions, one at a time.

    Attributes:
        home: whose studies.
        passphrase: of the identity, or None.
        environment: variables that may hold a database's address.
        clock: the present, with a time zone.
        monotonic: seconds of a clock that never goes back.
    """

    home: Home
    passphrase: bytes | None = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    _turns: Turns = field(default_factory=lambda: Turns(TRIES, EVERY_SECONDS))
    _told: Turns = field(default_factory=lambda: Turns(1, EVERY_SECONDS))
    _lock: Lock = field(default_factory=Lock)

    def decide(self, asked: DecisionForm, _user: int) -> DecisionOutcome:
        """Do what a person said, once.

        Raises:
            UsageError: decisions in a browser are off, something changed since it was shown, or
                a code is wrong; nothing was done.
            FieldfareError: as on the terminal (client/approvals/approval.py).
        """
        if not load_settings(self.home).console.decides:
            raise UsageError(
                "console.decides: expected true in institution.toml, found false: decide on the "
                "terminal, or let the home's owner allow it (docs/console.md, Decide in a browser)"
            )
        if not self._lock.acquire(blocking=False):
            raise UsageError(
                "expected one decision at a time, found another under way: open the study again"
            )
        try:
            find_id(self.home, asked.study)
            lines = (
                self._approve(asked) if asked.say is DecisionChoice.APPROVE else self._end(asked)
            )
        finally:
            self._lock.release()
        return DecisionOutcome(lines=lines)

    # -- proofs -----------------------------------------------------------------------------------

    def _prove(self, asked: DecisionForm) -> str:
        """Let a code count, once, the last thing before anything is done; return who it is."""
        with open_deciders(self.home.desk, self.clock) as book:
            person = book.find_name(asked.person)
            wait = self._turns.take(person, self.monotonic())
            proved = not wait and book.proves(person, asked.code)
        if proved:
            self._turns.give_back(person)
            return person
        # Of what is held back one entry: whoever tries for ever does not fill the disk.
        if not wait or not self._told.take(person, self.monotonic()):
            kind = "code at the desk held back" if wait else "wrong code at the desk"
            with open_journal(self.home, self.clock) as journal:
                journal.append(Event.CONSOLE, person or NOBODY, kind=kind)
        if wait:
            raise UsageError(
                f"expected fewer wrong codes, found too many: wait {duration(wait)}, or decide on "
                "the terminal"
            )
        raise UsageError(
            "expected the six digits that your authenticator shows now for the desk, found others "
            "or used ones: nothing was done. Who may decide here: `fieldfare institution desk "
            "person list`"
        )

    # -- approval ---------------------------------------------------------------------------------

    def _approve(self, asked: DecisionForm) -> list[str]:
        given = (self.home, self.passphrase, self.environment, self.clock)
        return list(study_approval(*given, self._prove).approve(asked))

    # -- rejection and withdrawal ------------------------------------------------------------------

    def _end(self, asked: DecisionForm) -> list[str]:
        check_reason(asked.reason)
        rejects = asked.say is DecisionChoice.REJECT
        if rejects and not asked.reason:
            raise UsageError("expected a reason of one line, found none")
        settings, policy = load_settings(self.home), load_policy(self.home)
        person = self._prove(asked)
        act = Rejecter.reject if rejects else Rejecter.withdraw
        with (
            open_journal(self.home, self.clock) as journal,
            ledger_of(self.home, settings, policy, self.clock) as ledger,
        ):
            told = RejectionDisclosure.DECISION if asked.keep else RejectionDisclosure.REASON
            by = Rejecter(self.home, ledger, journal, person, self.clock(), told, ASKED)
            decision = act(by, asked.study, asked.reason)
        lines = [f"{decision.state.value} by {decision.user} at {decision.time}"]
        return lines + notify_custodian(self.home).split("\n")
