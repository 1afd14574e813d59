"""`fieldfare institution study receive`, `studies`, `review`, `approve`, `reject`, `withdraw`.

Errors pass through: the root command turns them into exit codes.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from fieldfare.client.institution.building import (
    Institution,
    LoadedSums,
    ledger_of,
    open_custody,
    open_institution,
    open_journal,
    open_ledger,
    records_loader,
)
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    HomeOption,
    PassphraseFileOption,
)
from fieldfare.client.institution.decisions import (
    Standing,
    approve,
    check_before_records,
    receive,
    reject,
    spent_now,
    standing_of,
    withdraw,
)
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.policy import load_policy
from fieldfare.client.institution.restoring import check_not_behind
from fieldfare.client.institution.review import Review, review_study
from fieldfare.client.institution.review_screen import show_review
from fieldfare.client.institution.screen import console, plain
from fieldfare.client.institution.settings import load_settings
from fieldfare.client.institution.studies import (
    KeptStudy,
    Told,
    find_id,
    kept_studies,
    kept_study,
    offered_study,
    read_decision,
)
from fieldfare.client.institution.telling import LOAD_SECONDS, told_custodian
from fieldfare.client.ledger import Ledger
from fieldfare.client.records.problems import zero_lines
from fieldfare.client.records.settings import tables_of
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.next_command import at_home
from fieldfare.shared.os_user import os_user
from fieldfare.shared.prospects import cautions, obstacles
from fieldfare.shared.sealed_files import read_sealed
from fieldfare.shared.study import Study

receive_app = typer.Typer(add_completion=False)
studies_app = typer.Typer(add_completion=False)
review_app = typer.Typer(add_completion=False)
approve_app = typer.Typer(add_completion=False)
reject_app = typer.Typer(add_completion=False)
withdraw_app = typer.Typer(add_completion=False)

StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="First digits of the id of a study that arrived.")
]
KeepReasonOption = Annotated[
    bool,
    typer.Option("--keep-reason", help="Tell the coordinator that you said no, but not why."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Everything, as JSON.")]


@receive_app.command("receive")
def receive_study(
    file: Annotated[Path, typer.Argument(help="The signed study that the coordinator sent.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Check a signed study and keep it for review."""
    institution = open_institution(home)
    journal = open_journal(institution.home, utc_now)
    kept = receive(institution, journal, read_sealed(file), str(file), os_user(), utc_now())
    typer.echo(f"{kept.short}  {kept.study.name}: {kept.decision.state.value}")
    typer.echo(at_home(f"Next: fieldfare institution review {kept.short}"))


@studies_app.command("studies")
def studies(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the studies that arrived, with what was decided."""
    institution = open_institution(home)
    kept = kept_studies(institution.home, institution.roster)
    with open_ledger(institution, utc_now) as ledger:
        epoch = ledger.position().epoch
        standings = [standing_of(one.decision, institution.roster, epoch) for one in kept]
    if as_json:
        rows = [_row(one, standing) for one, standing in zip(kept, standings, strict=True)]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not kept:
        typer.echo("no study has arrived: fieldfare institution study receive FILE")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("study", "name", "epsilon", "standing", "by", "reason"):
        table.add_column(title, overflow="fold")
    for one, standing in zip(kept, standings, strict=True):
        privacy, decision = one.study.privacy, one.decision
        by = f"{plain(decision.user)} {decision.time}".strip()
        table.add_row(
            *(one.short, Text(one.study.name), f"{privacy.epsilon:g} at {privacy.delta:g}"),
            *(standing.value, Text(by), Text(plain(decision.reason, 100))),
        )
    console().print(table)


def _row(kept: KeptStudy, standing: Standing) -> dict[str, object]:
    privacy = kept.study.privacy
    return {
        "id": kept.study.id,
        "name": kept.study.name,
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "standing": standing.value,
        **kept.decision.model_dump(mode="json", exclude={"format", "study"}),
    }


@review_app.command("review")
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
    with open_ledger(institution, utc_now) as ledger:
        found = _reviewed(institution, ledger, meant)
    found = replace(found, records=_seen_in_records(institution, meant))
    if as_json:
        typer.echo(found.to_json())
    else:
        show_review(found, console())


def _seen_in_records(institution: Institution, study: Study) -> tuple[str, ...]:
    """Read the records as a load would, and say what counts; that they cannot be read, too."""
    # Here: the database engine takes half a second to load, and other commands need none.
    from fieldfare.client.records.check import (  # noqa: PLC0415 -- see above
        check_records,
        records_words,
    )

    try:
        tables = tables_of(
            institution.settings.records, study, folder=institution.home.path,
            environment=os.environ,
        )  # fmt: skip
        return tuple(records_words(check_records(tables, study, today=utc_now().date())))
    except FieldfareError as error:
        return (f"cannot be read: {error}",)


def meant_study(institution: Institution, text: str) -> Study:
    """Return the study that a person means: a file that was sent, or first digits of a kept one.

    Raises:
        UsageError: none or several fit.
    """
    path = Path(text)
    if path.is_file():
        return offered_study(read_sealed(path), text, institution.roster)
    study = find_id(institution.home, text)
    return kept_study(institution.home, study, institution.roster).study


def _reviewed(institution: Institution, ledger: Ledger, study: Study) -> Review:
    roster = institution.roster
    kept = kept_studies(institution.home, roster)
    decision = read_decision(institution.home, study.id)
    here = institution.home.study(study.id).exists()
    standing = standing_of(decision, roster, ledger.position().epoch).value
    return review_study(
        study,
        institution.policy,
        roster,
        spent_now(ledger, study, kept, roster, utc_now()),
        institution=institution.settings.id,
        standing=standing if here else "not received yet",
        earlier=_earlier(kept, study),
    )


def _earlier(kept: tuple[KeptStudy, ...], study: Study) -> Study | None:
    """Return the last study of this name that came before; `kept` is in order of arrival."""
    ids = [one.study.id for one in kept]
    before = kept[: ids.index(study.id)] if study.id in ids else kept
    similar = [one.study for one in before if one.study.name == study.name]
    return similar[-1] if similar else None


@approve_app.command("approve")
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
        with open_ledger(institution, utc_now) as ledger:
            show_review(_reviewed(institution, ledger, kept.study), console())
    _approve(institution, kept, os_user(), read_passphrase(passphrase_file), ask=not yes)


def _approve(
    institution: Institution,
    kept: KeptStudy,
    user: str,
    passphrase: bytes | None,
    *,
    ask: bool = False,
) -> None:
    members = max(len(institution.roster.members), kept.study.aggregation.minimum_institutions)
    with open_custody(institution, passphrase, utc_now) as custody:
        check_not_behind(custody.ledger)  # nothing would leave under this approval
        spent = spent_now(custody.ledger, kept.study, [], institution.roster, utc_now())
        plan = check_before_records(institution, kept.study, spent)
        if not ask:  # nobody saw the review
            for line in (*obstacles(plan, members), *cautions(plan)):
                typer.echo(f"warning: {plain(line)}", err=True)
        loaded = records_loader(institution, os.environ)(kept.study)
        check_before_records(institution, kept.study, spent, units=loaded.units)
        typer.echo("\n".join(_fit(loaded)))
        if ask:
            _confirm("Approve this study?", "nothing was approved")
        decision = approve(custody, kept, loaded, user, utc_now())
    typer.echo(f"approved {kept.short} by {decision.user} at {decision.time}")
    typer.echo(f"approval {decision.approval}")
    typer.echo(told_custodian(institution.home, institution.settings, LOAD_SECONDS))


def _fit(loaded: LoadedSums) -> list[str]:
    """Say how many units take part, and which rows do not, before anybody answers."""
    units = f"{loaded.units:,} units of yours"
    if not loaded.zero:
        return [f"records fit: {units}"]
    return [f"records: {loaded.words}; {units} are left", *zero_lines(loaded.findings)]


@reject_app.command("reject")
def reject_study(
    study: StudyArgument,
    reason: Annotated[
        str, typer.Option(help="Why, in one line, for your log and for the coordinator.")
    ],
    home: HomeOption = DEFAULT_HOME,
    keep_reason: KeepReasonOption = False,
) -> None:
    """Say no to a study, and why; the coordinator reads it when it asks for the study again."""
    opened = Home.open(home)
    chosen = find_id(opened, study)
    journal, settings = open_journal(opened, utc_now), load_settings(opened)
    with ledger_of(opened, settings, load_policy(opened), utc_now) as ledger:
        told = Told.DECISION if keep_reason else Told.REASON
        reject(opened, ledger, journal, chosen, reason, os_user(), utc_now(), told)
    typer.echo(f"rejected {chosen[:12]}")
    typer.echo(_what_is_told(reason, keep_reason=keep_reason))
    typer.echo(told_custodian(opened, settings))


@withdraw_app.command("withdraw")
def withdraw_study(
    study: StudyArgument,
    home: HomeOption = DEFAULT_HOME,
    reason: Annotated[
        str, typer.Option(help="Why, in one line, for your log and for the coordinator.")
    ] = "",
    keep_reason: KeepReasonOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
) -> None:
    """Take an approval back and destroy the study's keys; what was spent stays spent."""
    opened = Home.open(home)  # also without a valid roster: a no must always be possible
    chosen = find_id(opened, study)
    if not yes:
        _confirm("Destroy this study's keys? Its runs end for good.", "nothing was withdrawn")
    journal, settings = open_journal(opened, utc_now), load_settings(opened)
    with ledger_of(opened, settings, load_policy(opened), utc_now) as ledger:
        told = Told.DECISION if keep_reason else Told.REASON
        withdraw(opened, ledger, journal, chosen, reason, os_user(), utc_now(), told)
    typer.echo(f"withdrew {chosen[:12]}: its keys are destroyed, what it spent stays spent")
    typer.echo(_what_is_told(reason, keep_reason=keep_reason))
    typer.echo(told_custodian(opened, settings))


def _what_is_told(reason: str, *, keep_reason: bool) -> str:
    """Say what of a no leaves the institution."""
    if keep_reason or not reason:
        return "the coordinator learns that you said no, and no reason"
    return (
        "the coordinator learns that you said no, and this reason, when it asks next; repeat the "
        "command with --keep-reason to keep the reason inside"
    )


def _confirm(question: str, otherwise: str) -> None:
    if not typer.confirm(question):
        typer.echo(otherwise)
        raise typer.Exit(EXIT_DECLINED)
