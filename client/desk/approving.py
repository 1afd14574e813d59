"""An approval that a person gave in a browser, held against this home and done as on the terminal.

It needs the roster's safety code, compared with the roster that is pinned here, and approves the
very page that this home would show now. What it needs is loaded at the first one: reading a page
anew, the records and the custodian.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from fieldfare.client.approvals import approval
from fieldfare.client.approvals.second_person import (
    DECISIONS,
    asks_for_another,
    note_first_approval,
)
from fieldfare.client.daemon.telling import notify_custodian
from fieldfare.client.desk.calls import DecisionForm
from fieldfare.client.desk.deciding import ASKED
from fieldfare.client.desk.study_reading import view_study
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import Policy, load_policy
from fieldfare.client.home.policy_explained import WiderPolicy, allowing_columns
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import KeptStudy, kept_study
from fieldfare.client.institution.institution import (
    Institution,
    open_institution,
    open_journal,
)
from fieldfare.client.institution.ledger_checks import check_not_behind
from fieldfare.client.institution.open import open_custody, records_loader
from fieldfare.client.journal.entries import MAX_SENTENCE, Event, printable
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.errors import UsageError
from fieldfare.shared.harm_rules import is_protected
from fieldfare.shared.protocol.comparison import CODE_DIGITS, is_code, matches_code, roster_code
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.toml import parse_toml
from fieldfare.shared.system.private_files import replace_private


@dataclass(frozen=True)
class StudyApproval:
    """Approves studies of one home.

    Attributes:
        home: whose studies.
        passphrase: of the identity, or None.
        environment: variables that may hold a database's address.
        clock: the present, with a time zone.
        prove: lets a person's code count, once, and returns who it is.
    """

    home: Home
    passphrase: bytes | None = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    clock: Callable[[], datetime]
    prove: Callable[[DecisionForm], str]

    def approve(self, asked: DecisionForm) -> list[str]:
        """Approve, or note the first of two approvals; return what came of it, one line each.

        Raises:
            UsageError: something changed since the page was shown, or a code is wrong; nothing
                was done.
            FieldfareError: as on the terminal (client/approvals/approval.py).
        """
        policed = self.home.policy.read_bytes()  # before anything is held against it
        institution = open_institution(self.home.path)
        kept = kept_study(self.home, asked.study, institution.roster)
        self._check_seen(asked)
        _check_safety(institution, asked.safety)
        wider = self._wider(kept, asked)
        person = self.prove(asked)
        if asks_for_another(institution, kept.decision, person):
            with open_journal(self.home, self.clock) as journal:
                note_first_approval(institution, journal, asked.study, person, ASKED)
            return [f"noted: {person} approves it; it runs when another person approves it too"]
        policy = parse_toml(wider.text, Policy, str(self.home.policy))
        return self._let_run(replace(institution, policy=policy), kept, person, wider, policed)

    def _check_seen(self, asked: DecisionForm) -> None:
        now = view_study(self.home.path, asked.study, self.clock()).browser.seen
        if not hmac.compare_digest(asked.seen.encode(), now.encode()):
            raise UsageError(
                "the study's page changed after you opened it: nothing was done; read it again"
            )

    def _check_meanwhile(self, policed: bytes) -> None:
        """Refuse where somebody changed the rules while records were read, which takes minutes."""
        allowed = load_settings(self.home).console.decides
        if not allowed or self.home.policy.read_bytes() != policed:
            raise UsageError(
                "policy.toml or console.decides changed after you approved, while the records "
                "were read: nothing was done; read the "
                "study again"
            )

    def _wider(self, kept: KeptStudy, asked: DecisionForm) -> WiderPolicy:
        """Return the policy with the columns that the page showed and the person confirmed."""
        text = self.home.policy.read_text(encoding="utf-8")
        wider = allowing_columns(text, str(self.home.policy), plan_for(kept.study))
        if wider.added and not asked.columns:
            raise UsageError(
                "you did not confirm the columns that your policy does not list: nothing was done; "
                "confirm them, or reject the study"
            )
        before = load_policy(self.home).records.columns
        after = parse_toml(wider.text, Policy, str(self.home.policy)).records.columns
        if any(is_protected(one) for one in after if one not in before):
            raise UsageError(
                "expected columns that say nothing of what people are, found one that does (harm "
                "rule 4): to allow counts by it, type `fieldfare institution policy STUDY` on "
                "the terminal"
            )
        return wider

    def _let_run(
        self,
        institution: Institution,
        kept: KeptStudy,
        person: str,
        wider: WiderPolicy,
        policed: bytes,
    ) -> list[str]:
        now = self.clock()
        with open_custody(institution, self.passphrase, self.clock) as custody:
            check_not_behind(custody.ledger, self.home)  # nothing would leave otherwise
            load = records_loader(institution, self.environment)
            loaded = approval.load_for(custody, kept.study, load, now, _no_import)

            def widen() -> None:
                """Write the columns, once nothing else can refuse."""
                self._check_meanwhile(policed)
                if wider.added:
                    self._widen(custody.journal, kept.study.id, person, wider)

            decision = approval.approve(custody, kept, loaded, person, now, asked=ASKED, last=widen)
        lines = [f"approved by {decision.user} at {decision.time}", loaded.words]
        lines += notify_custodian(self.home).split("\n")
        return [line for line in lines if line]

    def _widen(self, journal: Journal, study: str, person: str, wider: WiderPolicy) -> None:
        """Write the policy; the log says so once, also where a kill came before the write."""
        rule = printable("; ".join(wider.added), MAX_SENTENCE)
        said = {"study": study, "rule": rule, "kind": ASKED}
        journal.append_once(Event.POLICY, person, DECISIONS, **said)
        try:
            replace_private(self.home.policy, wider.text.encode())
        except OSError as error:
            raise UsageError(
                f"{self.home.policy}: expected a file that can be written, found: "
                f"{error.strerror}: nothing was approved; make room, and decide again"
            ) from None


def _check_safety(institution: Institution, typed: str) -> None:
    """Hold what was typed against the pinned roster's code, as any of its members reads it."""
    roster = institution.roster
    read = [matches_code(typed, roster_code(roster, one)) for one in roster.ids]
    if not is_code(typed) or not any(read):
        raise UsageError(
            f"expected the {CODE_DIGITS} digits of the roster's safety code, as you or another "
            f"member reads it of version {roster.version} (`fieldfare institution roster`), "
            "found others: nothing was done. If the code is right, this home has another roster "
            "than the one that was compared: approve nothing, and ask the members"
        )


def _no_import(module: str) -> None:
    del module
    raise UsageError(
        "expected a study without a class of its own, found one: it imports code that runs on the "
        "records, so it is approved on the terminal"
    )
