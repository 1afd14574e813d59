"""A yes or no to a study that a person said in a browser, proved here and done as on the terminal.

The console's word counts for nothing: the home has to allow it (`console.decides`), the person is
one of the home's own deciders and shows a fresh code of a factor that the console never held, and a
yes needs the roster's safety code, which is compared with the roster that is pinned here.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Final

from fieldfare.client.approvals import approval
from fieldfare.client.daemon.admin_client import notify_custodian
from fieldfare.client.desk.calls import DecidedTold, Say, StudyDecided
from fieldfare.client.desk.deciders import open_deciders
from fieldfare.client.desk.reading import study_told
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import KeptStudy, Told, find_id, kept_study
from fieldfare.client.institution.institution import (
    Institution,
    ledger_of,
    open_institution,
    open_journal,
)
from fieldfare.client.institution.ledger_checks import check_not_behind
from fieldfare.client.institution.open import open_custody, records_loader
from fieldfare.client.journal.entries import MAX_SENTENCE, Event, printable
from fieldfare.client.journal.journal import Journal
from fieldfare.client.policy.explained import Allowing, allowing_columns
from fieldfare.client.policy.policy import Policy, load_policy
from fieldfare.shared.console.turns import Turns
from fieldfare.shared.errors import UsageError
from fieldfare.shared.harm_rules import is_protected
from fieldfare.shared.protocol.comparison import CODE_DIGITS, is_code, matches_code, roster_code
from fieldfare.shared.protocol.messages import check_reason
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.toml import parse_toml
from fieldfare.shared.system.private_files import replace_private
from fieldfare.shared.terminal.texts import duration

ASKED: Final = "console"  # what decisions and the log say of where it was said
NOBODY: Final = "nobody known"
TRIES: Final = 5  # codes at once, then one in
EVERY_SECONDS: Final = 300.0


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

    def decide(self, asked: StudyDecided, _user: int) -> DecidedTold:
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
            lines = self._approve(asked) if asked.say is Say.APPROVE else self._end(asked)
        finally:
            self._lock.release()
        return DecidedTold(lines=lines)

    # -- proofs -----------------------------------------------------------------------------------

    def _prove(self, asked: StudyDecided) -> str:
        """Let a code count, once, the last thing before anything is done; return who it is."""
        with open_deciders(self.home.desk, self.clock) as book:
            person = book.known(asked.person)
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
            "expected the six digits that your authenticator shows now for the desk, each once, "
            "found others: nothing was done. Who may decide here: `fieldfare institution desk "
            "person list`"
        )

    def _check_seen(self, asked: StudyDecided) -> None:
        now = study_told(self.home.path, asked.study, self.clock()).browser.seen
        if not hmac.compare_digest(asked.seen.encode(), now.encode()):
            raise UsageError(
                "expected a yes to what the page says now, found one to what it said before: "
                "nothing was done; read it again"
            )

    # -- yes --------------------------------------------------------------------------------------

    def _approve(self, asked: StudyDecided) -> list[str]:
        policed = self.home.policy.read_bytes()  # before anything is held against it
        institution = open_institution(self.home.path)
        kept = kept_study(self.home, asked.study, institution.roster)
        self._check_seen(asked)
        _check_safety(institution, asked.safety)
        wider = self._wider(kept, asked)
        person = self._prove(asked)
        if approval.asks_for_another(institution, kept.decision, person):
            with open_journal(self.home, self.clock) as journal:
                approval.note_first_yes(institution, journal, asked.study, person, ASKED)
            return [f"noted: {person} says yes; it runs when another person does so too"]
        policy = parse_toml(wider.text, Policy, str(self.home.policy))
        return self._let_run(replace(institution, policy=policy), kept, person, wider, policed)

    def _check_meanwhile(self, policed: bytes) -> None:
        """Refuse where somebody changed the rules while records were read, which takes minutes."""
        allowed = load_settings(self.home).console.decides
        if not allowed or self.home.policy.read_bytes() != policed:
            raise UsageError(
                "expected policy.toml and console.decides as they were when the yes was said, "
                "found that one changed while the records were read: nothing was done; read the "
                "study again"
            )

    def _wider(self, kept: KeptStudy, asked: StudyDecided) -> Allowing:
        """Return the policy with the columns that the page showed and the person confirmed."""
        text = self.home.policy.read_text(encoding="utf-8")
        wider = allowing_columns(text, str(self.home.policy), plan_for(kept.study))
        if wider.added and not asked.columns:
            raise UsageError(
                "expected that you confirm the columns which your policy does not list, found that "
                "you did not: nothing was done"
            )
        before = load_policy(self.home).records.columns
        after = parse_toml(wider.text, Policy, str(self.home.policy)).records.columns
        if any(is_protected(one) for one in after if one not in before):
            raise UsageError(
                "expected columns that say nothing of what people are, found one that does (harm "
                "rule 4): whoever allows it to be counted by does so on the terminal, with "
                "`fieldfare institution policy allow`"
            )
        return wider

    def _let_run(
        self,
        institution: Institution,
        kept: KeptStudy,
        person: str,
        wider: Allowing,
        policed: bytes,
    ) -> list[str]:
        now = self.clock()
        with open_custody(institution, self.passphrase, self.clock) as custody:
            check_not_behind(custody.ledger, self.home)  # nothing would leave otherwise
            load = records_loader(institution, self.environment)
            loaded = approval.loaded_for(custody, kept.study, load, now, _no_import)

            def widen() -> None:
                """Write the columns, once nothing else can refuse."""
                self._check_meanwhile(policed)
                if wider.added:
                    self._widen(custody.journal, kept.study.id, person, wider)

            decision = approval.approve(custody, kept, loaded, person, now, asked=ASKED, last=widen)
        lines = [f"approved by {decision.user} at {decision.time}", loaded.words]
        lines += notify_custodian(self.home, institution.settings).split("\n")
        return [line for line in lines if line]

    def _widen(self, journal: Journal, study: str, person: str, wider: Allowing) -> None:
        """Write the policy; the log says so once, also where a kill came before the write."""
        rule = printable("; ".join(wider.added), MAX_SENTENCE)
        said = {"study": study, "rule": rule, "kind": ASKED}
        journal.append_once(Event.POLICY, person, approval.DECISIONS, **said)
        try:
            replace_private(self.home.policy, wider.text.encode())
        except OSError as error:
            raise UsageError(
                f"{self.home.policy}: expected a file that can be written, found: "
                f"{error.strerror}: nothing was approved; make room, and decide again"
            ) from None

    # -- no ---------------------------------------------------------------------------------------

    def _end(self, asked: StudyDecided) -> list[str]:
        check_reason(asked.reason)
        rejects = asked.say is Say.REJECT
        if rejects and not asked.reason:
            raise UsageError("expected a reason of one line, found none")
        settings, policy = load_settings(self.home), load_policy(self.home)
        person = self._prove(asked)
        act = approval.reject if rejects else approval.withdraw
        with (
            open_journal(self.home, self.clock) as journal,
            ledger_of(self.home, settings, policy, self.clock) as ledger,
        ):
            told = Told.DECISION if asked.keep else Told.REASON
            said = (asked.study, asked.reason, person, self.clock(), told, ASKED)
            decision = act(self.home, ledger, journal, *said)
        lines = [f"{decision.state.value} by {decision.user} at {decision.time}"]
        return lines + notify_custodian(self.home, settings).split("\n")


def _check_safety(institution: Institution, typed: str) -> None:
    """Hold what was typed against the pinned roster's code, as any of its members reads it."""
    roster = institution.roster
    read = [matches_code(typed, roster_code(roster, one)) for one in roster.ids]
    if not is_code(typed) or not any(read):
        raise UsageError(
            f"expected the {CODE_DIGITS} digits of the roster's safety code, as you or another "
            f"member reads it of version {roster.version} (`fieldfare institution roster code`), "
            "found others: nothing was done. If the code is right, this home has another roster "
            "than the one that was compared: approve nothing, and ask the members"
        )


def _no_import(module: str) -> None:
    del module
    raise UsageError(
        "expected a study without a class of its own, found one: it imports code that runs on the "
        "records, so it is approved on the terminal"
    )
