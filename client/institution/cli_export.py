"""`fieldfare institution export`, `institution report check`: a draft for a person to finish.

Nothing here sends anything, or could. Errors pass through: the root command turns them into
exit codes.
"""

import hashlib
from dataclasses import replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.institution.casework import Deed
from fieldfare.client.institution.cli_alerts import AlertArgument
from fieldfare.client.institution.cli_home import DEFAULT_HOME, DeskOption
from fieldfare.client.institution.desk import open_desk
from fieldfare.client.scoring.alert import Alert
from fieldfare.client.scoring.labels import REVIEWERS_TO_FILE
from fieldfare.client.scoring.reports.facts import OPEN, ReportFacts, report_facts, window_days
from fieldfare.client.scoring.reports.fintrac import fintrac_draft, fintrac_problems
from fieldfare.client.scoring.reports.goaml import goaml_draft, goaml_problems
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import UsageError
from fieldfare.shared.private_files import create_private

EXIT_UNFINISHED: Final = 2
MOST_BYTES: Final = 4 * 1024 * 1024
MOST_ENTRIES: Final = 1_000  # of one draft; a person files what matters

export_app = typer.Typer(add_completion=False)
report_check_app = typer.Typer(add_completion=False)


class ReportFormat(StrEnum):
    """Whose form it is."""

    GOAML = "goaml"
    FINTRAC = "fintrac-json"


_DRAFTS: Final = {ReportFormat.GOAML: goaml_draft, ReportFormat.FINTRAC: fintrac_draft}
_CHECKS: Final = {ReportFormat.GOAML: goaml_problems, ReportFormat.FINTRAC: fintrac_problems}

FormatOption = Annotated[ReportFormat, typer.Option("--format", help="Whose form.")]


@export_app.command("export")
def export(
    which: AlertArgument,
    out: Annotated[Path, typer.Option(help="The file to write, new, for you alone.")],
    form: FormatOption,
    home: DeskOption = DEFAULT_HOME,
    transactions: Annotated[
        Path | None,
        typer.Option(help="Canonical records: the customer's own entries go into the draft."),
    ] = None,
    until: Annotated[
        str,
        typer.Option(
            help="Entries up to this day, 2026-03-31.", show_default="the records' last day"
        ),
    ] = "",
) -> None:
    """Draft a report of an alert for a person to finish and to file. Nothing is ever sent.

    Only of an alert that a person decided to file or escalate, whose party role a person set. A
    possible victim is marked as protected and is no subject.
    """
    desk = open_desk(home)
    with desk.store() as store:
        kept = store.find(which, desk.hidden(store))
        codes = desk.codes(store)
    facts = report_facts(kept.alert, kept.standing, codes)
    if transactions is not None:
        last = _day(until) if until else None
        facts = _with_movements(facts, kept.alert, transactions, last)
    draft = _DRAFTS[form](facts)
    desk.note(Deed.DRAFTED, kind=form.value, fingerprint=hashlib.sha256(draft).hexdigest())
    try:
        create_private(out, draft)
    except OSError as error:
        raise UsageError(f"{out}: expected a new file, found: {error.strerror}") from None
    typer.echo(f"drafted: {out} (0600). It is no report yet, and nothing sends it.")
    typer.echo(f'A person completes what says "{OPEN}", in {draft.decode().count(OPEN)} places.')
    if kept.standing.state != "closed":
        typer.echo(f"{REVIEWERS_TO_FILE} persons must decide `file` before anybody files it.")
    if facts.protected:
        typer.echo(
            "A possible victim: protected, and no subject. Name the suspected parties apart."
        )
    typer.echo(f"Next: fieldfare institution report check --format {form.value} {out}")


def _with_movements(
    facts: ReportFacts, alert: Alert, folder: Path, last: date | None
) -> ReportFacts:
    """Read the customer's own entries again, for this draft alone."""
    # No draft without entries waits for a database engine.
    from fieldfare.client.scoring.reports.movements import entries  # noqa: PLC0415 -- see above

    days = window_days(alert)
    read = entries(folder, alert.unit, days, last=last, today=utc_now().date())
    until = f"{read.last}" if last else f"{read.last}, the last day of the records"
    if read.found:
        typer.echo(
            f"entries: {min(len(read.found), MOST_ENTRIES)} of {len(read.found)} in {days} days up "
            f"to {until}; the latest first; a person takes out what does not belong"
        )
    else:
        typer.echo(f"entries: none of this customer in the {days} days up to {until}")
        if read.before:
            typer.echo(f"The last one before them is of that day: --until {read.before}")
        typer.echo("The draft is one of an activity, without transactions.")
    return replace(facts, movements=read.found[:MOST_ENTRIES])


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--until: expected a date such as 2026-03-31, found {text}") from None


@report_check_app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="The draft that a person completed.")],
    form: FormatOption,
) -> None:
    """Say what still keeps a report from being finished. Ends with 2 where something does.

    Your FIU's own validator has the last word: it knows its code lists and what it makes
    mandatory.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file}: expected a readable file, found: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise UsageError(f"{file}: expected at most {MOST_BYTES} bytes, found more")
    problems = _CHECKS[form](content)
    for problem in problems:
        typer.echo(problem)
    if problems:
        typer.echo(f"{len(problems)} to complete or correct", err=True)
        raise typer.Exit(EXIT_UNFINISHED)
    typer.echo("complete, and in order as far as our subset goes; a person reads and files it")
