"""`fieldfare institution studies`, `import`, and every decision on a study."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.approvals import approval
from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.approvals.review_screen import show_review
from fieldfare.client.approvals.second_person import asks_for_another, note_first_approval
from fieldfare.client.cli import app
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    HomeOption,
    JsonOption,
    PassphraseFileOption,
    identity_secret,
)
from fieldfare.client.cli.roster import STATEMENTS, take_statement
from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.client.custodian.recomputation import model_evidence
from fieldfare.client.daemon.telling import LOAD_SECONDS, notify_custodian
from fieldfare.client.desk.study_reading import StandingStudy, list_studies, review_at_home
from fieldfare.client.home.company import company_cautions
from fieldfare.client.home.inbox import HomeInbox
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import kept_model
from fieldfare.client.home.policy import load_policy
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import (
    KeptStudy,
    RejectionDisclosure,
    earlier_studies,
    find_id,
    kept_study,
    offered_study,
)
from fieldfare.client.institution.institution import (
    Institution,
    ledger_of,
    open_institution,
    open_journal,
)
from fieldfare.client.institution.ledger_checks import check_not_behind
from fieldfare.client.institution.open import (
    LoadedSums,
    open_custody,
    open_institution_ledger,
    records_loader,
)
from fieldfare.client.journal.decisions import JournalDecisions
from fieldfare.client.journal.journal import Journal
from fieldfare.client.records.encoding.problems import zero_lines
from fieldfare.client.records.settings import tables_of
from fieldfare.shared.advice import at_home
from fieldfare.shared.errors import (
    FieldfareError,
    PolicyRefusal,
    ProtocolError,
    RefusalCode,
    UsageError,
)
from fieldfare.shared.protocol.delivery import (
    DELIVERY_FILE_TYPE,
    LARGEST_DELIVERY_FILE,
    Delivery,
    DeliveryFile,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.prospects import cautions, obstacles
from fieldfare.shared.protocol.signed_files import RosterOffer, StudyOffer, read_signed
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user, read_at_most
from fieldfare.shared.terminal.screen import console, table
from fieldfare.shared.terminal.stderr import progress_bar
from fieldfare.shared.terminal.texts import SHORT, plain

StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="First digits of the id of a study that arrived.")
]
ReasonOption = Annotated[
    str, typer.Option(help="Why, in one line, for your log and for the coordinator.")
]
KeepReasonOption = Annotated[
    bool,
    typer.Option("--keep-reason", help="Tell the coordinator your decision, but not why."),
]


@app.command("institution.studies")
def studies(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the studies that arrived, with the decisions on them."""
    institution = open_institution(home)
    with open_institution_ledger(institution, utc_now) as ledger:
        found = list_studies(institution, ledger)
    if as_json:
        typer.echo(json.dumps([_row(one) for one in found], indent=2))
        return
    for study, why in earlier_studies(institution.home, institution.roster).items():
        typer.echo(f"{study[:SHORT]}: {why}")
    if not found:
        typer.echo("no study has arrived: fieldfare institution import FILE")
        return
    shown = map(_cells, found)
    console().print(table(("study", "name", "epsilon", "standing", "by", "reason"), shown))


def _cells(one: StandingStudy) -> tuple[str, ...]:
    kept, status = one.kept, one.status
    privacy, decision = kept.study.privacy, kept.decision
    return (
        *(kept.short, kept.study.name, f"{privacy.epsilon:g} at {privacy.delta:g}"),
        status.value,
        f"{decision.user} {decision.time}".strip(),
        plain(decision.reason, 100),
    )


def _row(one: StandingStudy) -> dict[str, object]:
    kept, status = one.kept, one.status
    privacy = kept.study.privacy
    return {
        "id": kept.study.id,
        "name": kept.study.name,
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "standing": status.value,
        **kept.decision.model_dump(mode="json", exclude={"format", "study"}),
    }


@app.command("institution.review")
def review(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="First digits of its id, or a signed file.")
    ],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show what a study asks for, what leaves, what it costs and what changed: one screen."""
    institution = open_institution(home)
    meant = meant_study(institution, study)
    with open_institution_ledger(institution, utc_now) as ledger:
        found = review_at_home(institution, ledger, meant, utc_now())
    found = replace(found, records=_seen_in_records(institution, meant))
    if as_json:
        typer.echo(found.to_json())
    else:
        show_review(found, console())


def _seen_in_records(institution: Institution, study: Study) -> tuple[str, ...]:
    """Read the records as a load would, and say what counts; that they cannot be read, too."""
    # Here: the database engine takes half a second to load, and other commands need none.
    from fieldfare.client.records.load import check_records, records_words  # noqa: PLC0415 -- see above

    try:
        tables = tables_of(
            institution.settings.records,
            study,
            folder=institution.home.path,
            environment=os.environ,
        )
        with progress_bar(begins="reading records") as said:
            found = check_records(tables, study, today=utc_now().date(), said=said)
        return tuple(records_words(found))
    except FieldfareError as error:
        return (f"cannot be read: {error}",)


def meant_study(institution: Institution, text: str) -> Study:
    """Return the study that a person means: a file that was sent, or first digits of a kept one.

    Raises:
        UsageError: none or several fit.
    """
    path = Path(text)
    if path.is_file():
        return offered_study(read_signed(path), text, institution.roster)
    study = find_id(institution.home, text)
    return kept_study(institution.home, study, institution.roster).study


@app.command("institution.approve")
def approve_study(
    study: StudyArgument,
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: it was reviewed.")] = False,
) -> None:
    """Approve a study: check policy, budget and records, make its keys, record who did it."""
    institution = open_institution(home)
    kept = kept_study(institution.home, find_id(institution.home, study), institution.roster)
    if not yes:
        with open_institution_ledger(institution, utc_now) as ledger:
            show_review(review_at_home(institution, ledger, kept.study, utc_now()), console())
    secret = identity_secret(institution.home, passphrase_file)
    _approve(institution, kept, os_user(), secret, ask=not yes)


def _approve(
    institution: Institution,
    kept: KeptStudy,
    user: str,
    passphrase: bytes | None,
    *,
    ask: bool = False,
) -> None:
    members = max(len(institution.roster.members), kept.study.aggregation.minimum_institutions)

    def imports(module: str) -> None:
        if ask:
            _confirm(f"Import {module}, to run on your records?", "nothing was imported")

    with open_custody(institution, passphrase, utc_now) as custody:
        check_not_behind(custody.ledger, institution.home)  # nothing would leave otherwise
        if custody.bound:
            typer.echo(custody.bound)
        load = records_loader(institution, os.environ)
        loaded = approval.load_for(custody, kept.study, load, utc_now(), imports)
        if not ask:  # no person saw the review
            plan = plan_for(kept.study)
            company = company_cautions(
                institution.company, institution.roster, own=institution.settings.id, plan=plan
            )
            for line in (*obstacles(plan, members), *company, *cautions(plan)):
                typer.echo(f"warning: {plain(line)}", err=True)
        typer.echo("\n".join(_fit(loaded)))
        if ask:
            _confirm("Approve this study?", "nothing was approved")
        if asks_for_another(institution, kept.decision, user):
            note_first_approval(institution, custody.journal, kept.study.id, user)
            typer.echo(f"noted: {user} approves {kept.short}; the policy asks for a second person")
            return
        decision = approval.approve(custody, kept, loaded, user, utc_now())
    typer.echo(f"approved {kept.short} by {decision.user} at {decision.time}")
    typer.echo(f"approval {decision.approval}")
    typer.echo(notify_custodian(institution.home, LOAD_SECONDS))


def _fit(loaded: LoadedSums) -> list[str]:
    """Print how many units take part, and which rows do not, before the user is asked."""
    units, each = f"{loaded.units:,} units of yours", loaded.each.words
    if not loaded.zero:
        return [f"records fit: {units}", each]
    return [f"records: {loaded.words}; {units} are left", each, *zero_lines(loaded.findings)]


@app.command("institution.reject")
def reject_study(
    study: StudyArgument,
    reason: ReasonOption,
    home: HomeOption = DEFAULT_HOME,
    keep_reason: KeepReasonOption = False,
) -> None:
    """Reject a study, with a reason that the coordinator reads when it asks for the study again."""
    opened = Home.open(home)
    chosen = find_id(opened, study)
    with _rejecter(opened, keep_reason=keep_reason) as rejecter:
        rejecter.reject(chosen, reason)
    typer.echo(f"rejected {chosen[:SHORT]}")
    typer.echo(_what_is_told(reason, keep_reason=keep_reason))
    typer.echo(notify_custodian(opened))


@app.command("institution.withdraw")
def withdraw_study(
    study: StudyArgument,
    home: HomeOption = DEFAULT_HOME,
    reason: ReasonOption = "",
    keep_reason: KeepReasonOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
) -> None:
    """Take an approval back and destroy the study's keys; spent budget stays spent."""
    opened = Home.open(home)  # also without a valid roster: a no must always be possible
    chosen = find_id(opened, study)
    if not yes:
        _confirm("Destroy this study's keys? Its runs end for good.", "nothing was withdrawn")
    with _rejecter(opened, keep_reason=keep_reason) as rejecter:
        rejecter.withdraw(chosen, reason)
    typer.echo(f"withdrew {chosen[:SHORT]}: its keys are destroyed, what it spent stays spent")
    typer.echo(_what_is_told(reason, keep_reason=keep_reason))
    typer.echo(notify_custodian(opened))


@contextmanager
def _rejecter(opened: Home, *, keep_reason: bool) -> Iterator[Rejecter]:
    settings, policy = load_settings(opened), load_policy(opened)
    with (
        open_journal(opened, utc_now) as journal,
        ledger_of(opened, settings, policy, utc_now) as ledger,
    ):
        told = RejectionDisclosure.DECISION if keep_reason else RejectionDisclosure.REASON
        yield Rejecter(opened, ledger, journal, os_user(), utc_now(), told)


def _what_is_told(reason: str, *, keep_reason: bool) -> str:
    """Describe what of a rejection leaves the institution."""
    if keep_reason or not reason:
        return "the coordinator learns your decision, but no reason"
    return (
        "the coordinator learns your decision, and this reason, when it asks next; repeat the "
        "command with --keep-reason to keep the reason inside"
    )


def _confirm(question: str, otherwise: str) -> None:
    if not typer.confirm(question):
        typer.echo(otherwise)
        raise typer.Exit(EXIT_DECLINED)


ELSEWHERE: Final = {
    RosterOffer.TYPE: "fieldfare institution roster accept FILE",
    "fieldfare.transcript.v1": "fieldfare institution verify FILE",
}
FIRST_LINE: Final = 1024  # bytes: what says of a file of lines what it is


@app.command("institution.import")
def import_files(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What was sent to this institution.")
    ],
    home: HomeOption = DEFAULT_HOME,
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="Keep a model also of a run that did not finish here."),
    ] = False,
) -> None:
    """Take a signed study, a finished model, or what a member vouches for or revokes."""
    for file in files:
        _import(file, home, unverified=unverified)


def _import(file: Path, home: Path, *, unverified: bool) -> None:
    content = read_at_most(file, LARGEST_DELIVERY_FILE).rstrip(b"\r\n")  # mail and editors add one
    kind = type_of(content)
    if kind == StudyOffer.TYPE:
        _receive_study(file, home)
    elif kind == DELIVERY_FILE_TYPE:
        _take_delivery(open_institution(home), content, unverified=unverified)
    elif kind in STATEMENTS:
        take_statement(open_institution(home), file)
    elif kind in ELSEWHERE:
        raise UsageError(
            f"{file}: expected a study or a delivery, found a file for {ELSEWHERE[kind]}"
        )
    else:
        raise UsageError(
            f"{file}: expected a signed study, a delivery file or a member's statement, found "
            "something else: ask its sender for the file again"
        )


def _receive_study(file: Path, home: Path) -> None:
    """Check a signed study and keep it for review."""
    institution = open_institution(home)
    with open_journal(institution.home, utc_now) as journal:
        kept = approval.receive(
            institution, journal, read_signed(file), str(file), os_user(), utc_now()
        )
    typer.echo(f"{kept.short}  {kept.study.name}: {kept.decision.state.value}")
    typer.echo(at_home(f"Next: fieldfare institution review {kept.short}"))


def type_of(content: bytes) -> str:
    """Return a file's stated type, unverified; empty where it states none."""
    for part in (content, content[:FIRST_LINE].partition(b"\n")[0]):
        try:
            kind = json.loads(part).get("type", "")
        except (ValueError, RecursionError, AttributeError):
            continue
        return kind if isinstance(kind, str) else ""
    return ""


def _take_delivery(institution: Institution, content: bytes, *, unverified: bool) -> None:
    with open_journal(institution.home, utc_now) as journal:
        try:
            delivery, new = _deliver(institution, journal, content, unverified=unverified)
        except (PolicyRefusal, ProtocolError) as error:
            # As a custodian does with what comes over the network: the log knows what was refused.
            JournalDecisions(journal).refused(error.code, str(error))
            raise
    done = "kept the model" if new else "the model is here already:"
    typer.echo(f"{done} of study {delivery.study[:SHORT]}, run {delivery.run}")
    typer.echo(at_home(f"Next: fieldfare institution models {delivery.run}"))


def _deliver(
    institution: Institution, journal: Journal, content: bytes, *, unverified: bool
) -> tuple[Delivery, bool]:
    home, roster = institution.home, institution.roster
    file = DeliveryFile.from_bytes(content)
    delivery = file.open(roster)
    inbox = HomeInbox(home, roster, journal, utc_now)
    before, evidence = _has(institution, delivery), _evidence(institution, delivery, file.card)
    known = home.study(delivery.study).exists()  # of an unknown study the inbox says so
    if known and evidence is ModelEvidence.UNVERIFIED and not unverified:
        raise PolicyRefusal(
            RefusalCode.NOT_RECOMPUTED,
            "expected a model of a run that was opened and finished here, found another: keep it "
            "with --unverified, then recompute it: fieldfare institution verify FILE",
        )
    inbox.delivered(delivery, file.envelope, file.model, file.card, evidence)
    return delivery, not before


def _evidence(institution: Institution, delivery: Delivery, card: bytes) -> ModelEvidence:
    """Return what this institution's own ledger says of a model; nothing of an unknown study."""
    try:
        study = kept_study(institution.home, delivery.study, institution.roster).study
    except UsageError:
        return ModelEvidence.UNVERIFIED  # the inbox refuses it
    with open_institution_ledger(institution, utc_now) as ledger:
        return model_evidence(ledger, study, delivery, card)


def _has(institution: Institution, delivery: Delivery) -> bool:
    try:
        return kept_model(institution.home, delivery.study, delivery.run) is not None
    except UsageError:
        return False  # no name for a folder: the inbox refuses it
