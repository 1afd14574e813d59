"""A preflight's checks of a home: software, files, keys, agreements, budget, records.

Nothing shows a record's value or a secret, only counts, names of columns and fingerprints. Nothing
here opens a connection to elsewhere: it looks at alerts too, and what ranks acts on nobody.
"""

import grp
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fieldfare.client.alerts.casework import casework_of
from fieldfare.client.approvals.approval_status import ApprovalStatus, approval_status
from fieldfare.client.home.keys import (
    load_identity,
    load_node_key,
    node_fingerprint,
    node_public_line,
    public_identity,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.home.link import link_days
from fieldfare.client.home.policy import load_policy, pinned_coordinator
from fieldfare.client.home.roster import check_member, pinned_roster
from fieldfare.client.home.settings import (
    custodian_socket_path,
    load_settings,
    witness_path,
)
from fieldfare.client.home.studies import KeptStudy, kept_studies
from fieldfare.client.institution.ledger_checks import check_not_behind, open_ledger, recall_of
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import read
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.peers import Fork
from fieldfare.client.node.terms import load_node_terms
from fieldfare.client.oversight.ledger_report import report
from fieldfare.client.oversight.link import judge_lifetime
from fieldfare.client.oversight.preflight import (
    Check,
    CheckInput,
    CheckNote,
    CheckOutcome,
    MissingError,
    check_answers,
    check_socket,
    judge_budget,
    judge_disk,
    judge_policy,
    judge_recall,
    judge_software,
    judge_swap,
)
from fieldfare.client.records.settings import check_unit, tables_of
from fieldfare.client.wire.admin_calls import StudyStatus
from fieldfare.client.wire.admin_client import custodian_status
from fieldfare.shared.errors import FieldfareError, KeysError, UsageError
from fieldfare.shared.party.other_versions import refuse_other_versions
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.system.memory import unencrypted_swap
from fieldfare.shared.terminal.texts import SHORT

NOT_WATCHED: Final = frozenset({"identity", "node key", "casework"})
HALF: Final = 39  # characters of a fingerprint's first eight groups


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The objects that a preflight looks at.

    Attributes:
        home: the institution's folder.
        node_settings: the node's own file, whether or not it is there.
        passphrase: of the identity, or None.
        environment: variables that may hold a database's address.
        now: the present, with a time zone.
        records: read the records of every approved study.
    """

    home: Path
    node_settings: Path
    passphrase: bytes | None
    environment: Mapping[str, str]
    now: datetime
    records: bool = True


def _left_out(studies: Sequence[StudyStatus]) -> CheckNote:
    """Judge approved studies that are not served: after each roster a person approves again."""
    reasons = "\n".join(f"left out {one.id[:SHORT]}: {one.reason}" for one in studies)
    if all(one.reason == ApprovalStatus.OUTDATED.value for one in studies):
        remedy = "fieldfare institution approve STUDY, or withdraw STUDY where it has ended"
        return CheckNote(CheckOutcome.WARN, reasons, remedy)
    return CheckNote(CheckOutcome.FAIL, reasons, "fix what it says; serving then begins by itself")


class HomeChecks:
    """The checks of one home; common inputs are read once."""

    def __init__(self, given: Preflight) -> None:
        """Read nothing yet."""
        self._given = given
        self.home = CheckInput("the home", lambda: _found(given.home))
        self.settings = CheckInput("institution.toml", lambda: load_settings(self.home.need()))
        self.policy = CheckInput("policy.toml", lambda: load_policy(self.home.need()))
        self.coordinator = CheckInput(
            "the coordinator's key",
            lambda: pinned_coordinator(self.home.need(), self.policy.need()),
        )
        self.roster = CheckInput("the roster", self._pinned)
        self.node = CheckInput("node.toml", lambda: load_node_terms(given.node_settings))
        self.studies = CheckInput("the studies", self._approved)

    def checks(self) -> Iterator[Check]:
        """Yield them in the order in which one rests on another."""
        yield Check("software", judge_software, "install this version of fieldfare anew")
        yield Check("home", lambda: str(Home.open(self._given.home).path))
        yield Check("settings", lambda: f"institution {self.settings.get().id}")
        yield Check("policy", lambda: judge_policy(self.policy.get()), "change policy.toml")
        yield Check(
            "coordinator",
            lambda: fingerprint(bytes.fromhex(self.coordinator.get()))[:HALF],
            "join with the coordinator's invitation: fieldfare institution join FILE",
        )
        yield Check("identity", self._identity)
        yield Check("node key", self._node_key)
        yield Check(
            "roster",
            self._roster,
            "accept the coordinator's newest: fieldfare institution roster accept FILE",
        )
        yield Check("node", self._node)
        yield Check("sockets", self._sockets)
        yield Check(
            "custodian", self._custodian, "start it: fieldfare institution start (or its service)"
        )
        yield Check("ledger", self._ledger)
        yield Check(
            "budget", self._budget, "wait for the window to move on, or raise it in policy.toml"
        )
        yield Check("witness", self._witness)
        yield Check("log", self._log)
        yield Check("casework", self._casework, "fix what it names")
        yield Check(
            "swap",
            lambda: judge_swap(unencrypted_swap()),
            "turn swap off, or put it on dm-crypt (docs/institution.md)",
        )
        yield Check("disk", lambda: judge_disk(shutil.disk_usage(self.home.need().path).free))

    def watched(self) -> Iterator[Check]:
        """Yield those that open no key and tell nothing of alerts, for a console."""
        return (one for one in self.checks() if one.topic not in NOT_WATCHED)

    def record_checks(self) -> Iterator[Check]:
        """Yield a check of the records for each approved study."""
        try:
            approved = self.studies.get()
        except (FieldfareError, OSError, MissingError):
            yield Check("records", lambda: str(self.studies.get()))  # raises it once more
            return
        if not approved:
            yield Check("records", lambda: CheckNote(CheckOutcome.SKIP, "no study is approved"))
        for study in approved:
            yield Check(
                "records",
                lambda study=study: self._records(study),  # type: ignore[misc] # bound per study
                "read it in full: fieldfare institution records check STUDY.toml",
            )

    # -- each of them -----------------------------------------------------------------------

    def _pinned(self) -> Roster:
        return pinned_roster(self.home.need(), self.coordinator.need())

    def _identity(self) -> str | CheckNote:
        home = self.home.need()
        spoken = fingerprint(bytes.fromhex(public_identity(home)))[:HALF]
        in_token = home.identity_uri.exists()
        if self._given.passphrase is None and (
            in_token or b"ENCRYPTED" in home.identity_key.read_bytes()
        ):
            where = "in a token" if in_token else "under a passphrase"
            return CheckNote(
                CheckOutcome.SKIP, f"{spoken}; {where}: give --passphrase-file to try it"
            )
        load_identity(home, self._given.passphrase)
        return spoken

    def _node_key(self) -> str:
        home = self.home.need()
        public = load_node_key(home).public_key()
        line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        if line != node_public_line(home):
            raise KeysError(
                f"{home.node_public}: expected the public half of {home.node_key}, found another: "
                f"write {line} into it and send that to the coordinator"
            )
        return node_fingerprint(home)[:HALF]

    def _roster(self) -> str:
        roster, home = self.roster.get(), self.home.need()
        check_member(roster, str(home.roster), self.settings.need().id, public_identity(home))
        return f"version {roster.version}, {len(roster.members)} members, this one among them"

    def _node(self) -> str | CheckNote:
        if not self._given.node_settings.exists():
            return CheckNote(
                CheckOutcome.SKIP,
                "no node.toml: join with `fieldfare institution join FILE`, or name that of a node "
                "which runs elsewhere with --node-settings",
            )
        terms = self.node.get()
        listed = ", ".join(sorted(bundle[:SHORT] for bundle in terms.bundles))
        settings = self.settings.need()
        expected = custodian_socket_path(self.home.need(), settings)
        if settings.custodian.listen and isinstance(terms.custodian, Path):
            return CheckNote(
                CheckOutcome.FAIL,
                f"expected [custodian] with {settings.custodian.listen}, where institution.toml "
                f"has it listen, found the socket {terms.custodian} in its settings: "
                "fieldfare institution link",
            )
        if isinstance(terms.custodian, Path) and terms.custodian != expected:
            return CheckNote(
                CheckOutcome.WARN,
                f"expected custodian = {expected}, as institution.toml says, found "
                f"{terms.custodian} in its settings",
            )
        return f"SuperLink {terms.superlink}, answers runs of the bundles {listed}"

    def _link(self, home: Home, listen: str) -> str | CheckNote:
        ends = link_days(home)
        said = f"{listen} under mutual TLS; the custodian's certificate holds"
        first, what = min((ends.custodian, said), (ends.authority, "the link's authority holds"))
        return judge_lifetime(first, self._given.now, what)

    def _sockets(self) -> str | CheckNote:
        home, settings = self.home.need(), self.settings.need()
        group = settings.custodian.group
        try:
            if group:
                grp.getgrnam(group)
        except KeyError:
            raise UsageError(
                f"custodian.group: expected a group of this machine, found {group!r}: make it, or "
                "leave it empty"
            ) from None
        data, admin = custodian_socket_path(home, settings), home.admin_socket
        check_socket(admin, 0o600)
        if settings.custodian.listen:
            return self._link(home, settings.custodian.listen)
        check_socket(data, 0o660)
        return f"{data.name} for {group or 'this user'}, {admin.name} for this user alone"

    def _custodian(self) -> str | CheckNote:
        home, settings = self.home.need(), self.settings.need()
        status = custodian_status(home.admin_socket)
        if status is None:
            return CheckNote(CheckOutcome.SKIP, "not running")
        if status.trouble:
            return CheckNote(CheckOutcome.FAIL, f"it serves nothing: {status.trouble}", "")
        left_out = [one for one in status.studies if not one.serving]
        if left_out:
            return _left_out(left_out)
        if not settings.custodian.listen:
            check_answers(custodian_socket_path(home, settings))
        return f"serving {len(status.studies)} approved"

    def _ledger(self) -> str | CheckNote:
        home = self.home.need()
        with open_ledger(home) as ledger:
            ledger.verify()
            ledger.check_unit()
            check_not_behind(ledger, home)
            position = ledger.position()
            with ledger.peers() as rows:
                forks = rows.forks()
        said = f"recomputed: {position.sequence} entries, epoch {position.epoch}"
        if forks:
            return CheckNote(CheckOutcome.WARN, "\n".join([said, *map(fork_line, forks)]))
        return said

    def _witness(self) -> str | CheckNote:
        home = self.home.need()
        witness = witness_path(home, self.settings.need())
        with open_ledger(home) as ledger:
            begun, recall = ledger.position().sequence > 0, recall_of(ledger)
            elsewhere = witness.parent.stat().st_dev != home.ledger.parent.stat().st_dev
        if elsewhere:
            return f"{witness} is on another file system than the ledger"
        return judge_recall(recall, begun=begun)

    def _budget(self) -> str | CheckNote:
        home, settings, policy = self.home.need(), self.settings.need(), self.policy.need()
        with open_ledger(home) as ledger:
            found = report(ledger, settings.population, policy, self._given.now)
        return judge_budget(found.yearly, found.lifetime)

    def _log(self) -> str | CheckNote:
        folder = self.home.need().log_folder
        if not any(folder.iterdir()):
            return CheckNote(CheckOutcome.SKIP, "nothing was ever logged")
        count, logged = 0, set()
        for entry in read(folder):
            count = entry.sequence
            if entry.event is Event.RELEASE:
                logged.add(entry.details.get("request"))
        with open_ledger(self.home.need()) as ledger:
            missing = unlogged(ledger, logged)
        if missing > 1:
            return CheckNote(
                CheckOutcome.WARN,
                f"recomputed: entries 1 to {count}, but the last {missing} releases of the ledger "
                "are not in it: the log was cut or restored from an older copy; compare it with "
                "an exported head (fieldfare institution verify log --head FILE)",
            )
        return f"recomputed: entries 1 to {count}"

    def _casework(self) -> str | CheckNote:
        casework = casework_of(self.home.need(), self.settings.need())
        if casework is None:
            return CheckNote(CheckOutcome.SKIP, "alerts are in the home, for this user alone")
        terms = casework.terms
        _, complaints = casework.acts(self._given.now)
        said = f"{len(terms.analysts)} analysts, {len(terms.reviewers)} reviewers"
        if problems := [*casework.obstacles(), *complaints]:
            return CheckNote(CheckOutcome.WARN, "\n".join([said, *problems]))
        return said

    def _approved(self) -> tuple[KeptStudy, ...]:
        """Return the studies that may run."""
        home, roster = self.home.need(), self.roster.need()
        with open_ledger(home) as ledger:
            epoch = ledger.position().epoch
        kept = kept_studies(home, roster)
        return tuple(
            one
            for one in kept
            if approval_status(one.decision, roster, epoch) is ApprovalStatus.APPROVED
        )

    def _records(self, kept: KeptStudy) -> str | CheckNote:
        if not self._given.records:
            return CheckNote(CheckOutcome.SKIP, f"{kept.short}: left out by --skip-records")
        # Whoever leaves records out, a console for one, loads nothing that reads them.
        from fieldfare.client.records.load import check_records  # noqa: PLC0415

        home, settings = self.home.need(), self.settings.need()
        check_unit(kept.study, settings.unit)
        tables = tables_of(
            settings.records, kept.study, folder=home.path, environment=self._given.environment
        )
        found = check_records(tables, kept.study, today=self._given.now.date())
        said = "\n".join(one.text for one in found.findings)
        if not found.loads:
            return CheckNote(CheckOutcome.FAIL, f"{kept.short}: {said}")
        read = f"{kept.short}: {found.rows:,} rows, {found.each.words}"
        if found.findings:
            return CheckNote(CheckOutcome.WARN, f"{read}; {said}")
        return f"{read}; everything fits"


def fork_line(fork: Fork) -> str:
    """Say who was copied; both signed replies are in the ledger's file."""
    return (
        f"{fork.institution} signed two replies as entry {fork.sequence} of its ledger's epoch "
        f"{fork.epoch}: two copies of its home answered; ask its people which one goes on"
    )


def unlogged(ledger: Ledger, logged: Collection[object]) -> int:
    """Return how many of the ledger's last releases are in no log; a kill may leave one."""
    missing = 0
    for entry in ledger.entries():
        missing = 0 if entry.debit.request in logged else missing + 1
    return missing


def _found(path: Path) -> Home:
    """Return a home as it is, but none of a later version: a fault of one mode hides no other."""
    home = Home(path.absolute())
    if not home.settings.is_file():
        return Home.open(path)
    refuse_other_versions(
        home.path, Home.FILES
    )  # or the ledger's tables would be brought up to date
    return home
