"""`fieldfare institution alerts`, `alert show`, `feedback`, `labels`, `export`, `report check`.

Nothing here sends anything, or could.
"""

import hashlib
import json
import os
import shlex
from dataclasses import replace
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fieldfare.client.alerts.act_check import VICTIM_WORDS, note_problem
from fieldfare.client.alerts.alert import Alert, UnitLabel
from fieldfare.client.alerts.alert_queue import CaseworkQueue, open_queue, statement_of
from fieldfare.client.alerts.card import weeks_of
from fieldfare.client.alerts.casework import Deed
from fieldfare.client.alerts.feedback import (
    REVIEWERS_TO_FILE,
    Confidence,
    Disposition,
    Feedback,
    PartyRole,
)
from fieldfare.client.alerts.reports.facts import OPEN, ReportFacts, report_facts, window_days
from fieldfare.client.alerts.reports.forms import ReportFormat, complete_draft, draft_of, form_of
from fieldfare.client.alerts.store import StoredAlert
from fieldfare.client.alerts.text import card, parties_table, queue_table, statement_table
from fieldfare.client.cli import app
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    JsonOption,
    MappingOption,
    QueueOption,
    RecordsOption,
    day_given,
)
from fieldfare.client.records.assembling import DECIDED
from fieldfare.shared.advice import at_home
from fieldfare.shared.errors import UsageError
from fieldfare.shared.formats.csv_cells import csv_text
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import (
    create_private,
    os_user,
    read_at_most,
    replace_private,
)
from fieldfare.shared.terminal.screen import console

AlertArgument = Annotated[str, typer.Argument(metavar="ALERT", help="Its id or first digits.")]


class AlertFilter(StrEnum):
    """The alerts that a list shows."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


@app.command("institution.alerts")
def alerts(
    home: QueueOption = DEFAULT_HOME,
    state: Annotated[AlertFilter, typer.Option(help="Which alerts.")] = AlertFilter.OPEN,
    as_json: JsonOption = False,
) -> None:
    """List the alerts that people look at, the newest scoring first."""
    queue = open_queue(home)
    with queue.store() as store:
        hidden = queue.hidden(store)
        found = [one for one in store.all() if _is(one, state) and one.alert.unit not in hidden]
    if as_json:
        typer.echo(json.dumps([_row(one) for one in found], indent=2))
        return
    if not found:
        typer.echo("no such alert: fieldfare institution score makes them")
        return
    console().print(queue_table(found))
    shown = at_home("fieldfare institution alert show ALERT")
    decided = at_home("fieldfare institution feedback ALERT")
    typer.echo(f"Next: {shown}\nthen: {decided}")


def _is(kept: StoredAlert, state: AlertFilter) -> bool:
    return state is AlertFilter.ALL or (kept.status.state == "closed") == (
        state is AlertFilter.CLOSED
    )


@app.command("institution.alert.show")
def show(
    which: AlertArgument,
    home: QueueOption = DEFAULT_HOME,
    as_json: JsonOption = False,
    words: Annotated[
        bool, typer.Option("--words", help="Of a text: read it, show which of its words moved it.")
    ] = False,
    records: RecordsOption = None,
    mapping: MappingOption = None,
) -> None:
    """Show one alert: the evidence, the counter-evidence, look-alikes and decisions.

    With --words the text is read from the records again, and kept nowhere; the log says who did.
    """
    queue = open_queue(home)
    with queue.store() as store:
        found = store.find(which, queue.hidden(store))
    if words:
        if isinstance(queue, CaseworkQueue) and queue.home is None:
            raise UsageError(
                f"--words: expected the institution's home, found the casework folder {home}: only "
                "users who may read the records can show their texts"
            )
        # Who only looks at a card does not wait for what reads records.
        from fieldfare.client.model_use import score as alert_words  # noqa: PLC0415 -- see above

        lines = alert_words.read_words(
            home, found.alert, tuple(records or ()), mapping, user=os_user(), environment=os.environ
        )
        typer.echo("\n".join(lines))
        return
    if as_json:
        typer.echo(json.dumps(_row(found), indent=2))
        return
    console().print(card(found))


@app.command("institution.alert.entries")
def show_entries(
    which: AlertArgument,
    home: QueueOption = DEFAULT_HOME,
    most: Annotated[int, typer.Option(min=1, help="How many, the latest first.")] = 60,
) -> None:
    """Show the entries of an alert's customer, and which published indicators count each of them.

    Only what `score` kept, and only until its day; no record is read.
    """
    queue = open_queue(home)
    with queue.store() as store:
        alert = store.find(which, queue.hidden(store)).alert
        found = statement_of(queue, store, alert.alert)
    if found is None:
        raise UsageError(
            f"ALERT: expected entries of {alert.alert}, found none: they were not kept, or their "
            "day is over; `score` keeps them with --entries FOLDER"
        )
    console().print(statement_table(found, most))
    console().print(parties_table(found))
    weeks = " ".join(f"{one.counted}/{one.entries}" for one in weeks_of(found))
    typer.echo(f"by week, counted of all: {weeks}")
    typer.echo(f"{min(most, len(found.entries))} of {found.found} entries up to {found.until}")


def _row(kept: StoredAlert) -> dict[str, Any]:
    status = kept.status
    return {
        **kept.alert.model_dump(mode="json"),
        "state": status.state,
        "party_role": status.party_role.value,
        "disposition": status.disposition.value if status.disposition else None,
        "decisions": [
            {
                "time": one.time.isoformat(),
                "user": one.user,
                "disposition": one.disposition.value,
                "party_role": one.party_role.value,
                "confidence": one.confidence.value,
                "note": one.note,
            }
            for one in kept.decisions
        ],
    }


@app.command("institution.feedback")
def feedback(
    which: AlertArgument,
    disposition: Annotated[Disposition, typer.Option(help="What you decided.")],
    role: Annotated[
        PartyRole,
        typer.Option(
            metavar="ROLE",  # a list of them is wider than a terminal
            help=f"Who this is in what may have happened: {', '.join(PartyRole)}.",
        ),
    ],
    confidence: Annotated[Confidence, typer.Option(help="How sure.")] = Confidence.MEDIUM,
    note: Annotated[str, typer.Option(help="Why; stays inside.")] = "",
    home: QueueOption = DEFAULT_HOME,
) -> None:
    """Record a person's decision about an alert. Nothing is sent, frozen or closed elsewhere.

    Decisions are only added. To file needs two persons' word; the last decision counts.
    """
    if problem := note_problem(note):
        raise UsageError(f"--{problem}")
    queue, user = open_queue(home), os_user()
    with queue.store() as store:
        alert = store.find(which, queue.hidden(store)).alert
    decided = Feedback(alert.alert, utc_now(), user, disposition, role, confidence, note)
    if problem := queue.act(decided).problem:
        raise UsageError(problem)
    with queue.store() as store:
        status = store.find(alert.alert).status
    typer.echo(f"noted; alert {alert.alert} is now: {status.state}")
    if role is PartyRole.POTENTIAL_VICTIM:
        typer.echo(VICTIM_WORDS)
    if status.state == "second_review":
        typer.echo(f"{REVIEWERS_TO_FILE} persons are needed to file: {queue.second}")
    if status.disposition is Disposition.FILE:
        draft = f"fieldfare institution export {alert.alert} --format goaml --out FILE"
        typer.echo(at_home(f"Next: {draft}"))


@app.command("institution.labels")
def labels(
    out: Annotated[Path, typer.Option(help="The CSV file to write, new, for you alone.")],
    as_of: Annotated[
        str, typer.Option(help="Only what was known then, 2026-03-31; else now.")
    ] = "",
    home: QueueOption = DEFAULT_HOME,
) -> None:
    """Write settled decisions as labels for the next study, each with the time it was known from.

    A model may learn from a label only with features from before `effective_from`.
    """
    moment = _moment(as_of) if as_of else utc_now()
    queue = open_queue(home)
    with queue.store() as store:
        found = store.labels(moment)
    queue.note(Deed.LABELS)
    try:
        create_private(out, _csv(found).encode())
    except OSError as error:
        raise UsageError(f"{out}: expected a new file, found: {error.strerror}") from None
    positive = sum(label.value for label in found)
    typer.echo(
        f"{len(found)} labels, {positive} of them positive: {out} (0600; that somebody was "
        "reported is itself secret)"
    )


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--as-of: expected a time such as 2026-03-31, found {text[:40]!a}"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _csv(found: list[UnitLabel]) -> str:
    rows = (
        (one.unit, one.value, one.source, one.confidence.value, one.observed_at.isoformat(),
         one.effective_from.isoformat(), one.selected)
        for one in found
    )  # fmt: skip
    return csv_text(DECIDED, rows)


EXIT_UNFINISHED: Final = 2
MOST_BYTES: Final = 4 * 1024 * 1024
MOST_ENTRIES: Final = 1_000  # of one draft; a person files what matters


FormatOption = Annotated[ReportFormat, typer.Option("--format", help="Whose form.")]


@app.command("institution.export")
def export(
    which: AlertArgument,
    out: Annotated[Path, typer.Option(help="The file to write, new, for you alone.")],
    form: FormatOption,
    home: QueueOption = DEFAULT_HOME,
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
    queue = open_queue(home)
    with queue.store() as store:
        kept = store.find(which, queue.hidden(store))
        codes = queue.codes(store)
    facts = report_facts(kept.alert, kept.status, codes)
    if transactions is not None:
        last = day_given(until, "--until") if until else None
        facts = _with_movements(facts, kept.alert, transactions, last)
    draft = draft_of(form, facts)
    queue.note(Deed.DRAFTED, kind=form.value, fingerprint=hashlib.sha256(draft).hexdigest())
    try:
        create_private(out, draft)
    except OSError as error:
        raise UsageError(f"{out}: expected a new file, found: {error.strerror}") from None
    typer.echo(f"drafted: {out} (0600). It is no report yet, and nothing sends it.")
    typer.echo(f'A person completes what says "{OPEN}", in {draft.decode().count(OPEN)} places.')
    if kept.status.state != "closed":
        typer.echo(f"{REVIEWERS_TO_FILE} persons must decide `file` before it may be filed.")
    if facts.protected:
        typer.echo(
            "A possible victim: protected, and no subject. Name the suspected parties apart."
        )
    at = shlex.quote(str(out))
    typer.echo(f"Next: fieldfare institution report check --format {form.value} {at}")


def _with_movements(
    facts: ReportFacts, alert: Alert, folder: Path, last: date | None
) -> ReportFacts:
    """Read the customer's own entries again, for this draft alone."""
    # No draft without entries waits for a database engine.
    from fieldfare.client.alerts.reports.movements import entries  # noqa: PLC0415 -- see above

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


def _answer(text: str) -> tuple[str, str]:
    path, sign, value = text.partition("=")
    if not sign:
        raise UsageError("--set: expected FIELD=TEXT, found no =; --fields lists the fields")
    return path, value


@app.command("institution.report.check")
def check(
    file: Annotated[Path, typer.Argument(help="The draft that a person completed.")],
    form: FormatOption,
    answer: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=TEXT", help="Fill a field in first; repeat it."),
    ] = None,
    fields: Annotated[bool, typer.Option("--fields", help="List all fields too.")] = False,
) -> None:
    """List what a report still lacks. Ends with 2 where something does.

    Your FIU's own validator has the last word: it knows its code lists and what it makes
    mandatory.
    """
    content = read_at_most(file, MOST_BYTES)
    if answer:
        content = complete_draft(form, content, dict(map(_answer, answer)))
        replace_private(file, content)
    shown = form_of(form, content)
    for one in shown.fields if fields else ():
        mark = "missing" if one.missing else "fixed" if one.fixed else ""
        typer.echo(f"{one.path}  {mark}".rstrip())
    problems = shown.problems
    for problem in problems:
        typer.echo(problem)
    if problems:
        typer.echo(f"{len(problems)} to complete or correct", err=True)
        raise typer.Exit(EXIT_UNFINISHED)
    typer.echo("complete, and in order as far as our subset goes; a person reads and files it")
