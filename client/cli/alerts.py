"""`fieldfare institution alerts`, `act`, `labels`, `export`, `report check`.

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
from fieldfare.client.alerts.acts import CaseAct, CaseActKind, holder_of
from fieldfare.client.alerts.alert import Alert, UnitLabel
from fieldfare.client.alerts.alert_queue import (
    AlertQueue,
    CaseworkQueue,
    open_queue,
    statement_of,
)
from fieldfare.client.alerts.card import weeks_of
from fieldfare.client.alerts.casework import Deed
from fieldfare.client.alerts.feedback import (
    REVIEWERS_TO_FILE,
    Confidence,
    Disposition,
    Feedback,
    PartyRole,
)
from fieldfare.client.alerts.queue_view import NOBODY, QueueFilter
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
    refuse_options,
)
from fieldfare.client.records.assembling import DECIDED
from fieldfare.shared.advice import at_home
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.csv_cells import csv_text
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import (
    create_private,
    os_user,
    read_at_most,
    replace_private,
)
from fieldfare.shared.terminal.screen import console, table

AlertArgument = Annotated[str, typer.Argument(metavar="ALERT", help="Its id or first digits.")]


class AlertFilter(StrEnum):
    """The alerts that a list shows."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


@app.command("institution.alerts")
def alerts(
    which: Annotated[
        str | None,
        typer.Argument(metavar="[ALERT]", help="Show this one: its id or first digits."),
    ] = None,
    home: QueueOption = DEFAULT_HOME,
    state: Annotated[
        AlertFilter | None, typer.Option(help="Which alerts.", show_default="open")
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(
            help='A page of the queue, as a URL says it: "state=open", "tier=2&assigned=nobody".',
            show_default=False,
        ),
    ] = None,
    entries: Annotated[
        bool,
        typer.Option("--entries", help="The entries of ALERT's customer, and what counts each."),
    ] = False,
    most: Annotated[int, typer.Option(min=1, help="With --entries: how many, latest first.")] = 60,
    words: Annotated[
        bool, typer.Option("--words", help="Of ALERT, a text: read it, show which words moved it.")
    ] = False,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the alerts for people to review, the newest scoring first; of ALERT, all the evidence.

    With --view they come by independent families of evidence, then by rank, with a random sample
    from below the line among them, unmarked: the page that the console shows. --entries shows what
    `score` kept, until its day. With --words the text is read from the records again, and kept
    nowhere; the log says who did.
    """
    queue = open_queue(home)
    if which is None:
        refuse_options({"--entries": entries, "--words": words}, "an ALERT beside it")
        if view is None:
            _list(queue, state or AlertFilter.OPEN, as_json=as_json)
            return
        refuse_options({"--state": state, "--json": as_json}, "no --view beside it")
        _show_page(queue, QueueFilter.parse(view))
        return
    refuse_options({"--state": state, "--view": view is not None}, "no ALERT beside it")
    found = _find(queue, which)
    if words:
        refuse_options({"--entries": entries, "--json": as_json}, "no --words beside it")
        _show_words(queue, home, found.alert, tuple(records or ()), mapping)
    elif entries:
        refuse_options({"--json": as_json}, "no --entries beside it")
        _show_entries(queue, found.alert, most)
    elif as_json:
        typer.echo(json.dumps(_row(found), indent=2))
    else:
        console().print(card(found))


def _list(queue: AlertQueue, state: AlertFilter, *, as_json: bool) -> None:
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
    shown = at_home("fieldfare institution alerts ALERT")
    decided = at_home("fieldfare institution act ALERT decide")
    typer.echo(f"Next: {shown}\nthen: {decided}")


def _find(queue: AlertQueue, which: str) -> StoredAlert:
    with queue.store() as store:
        return store.find(which, queue.hidden(store))


def _is(kept: StoredAlert, state: AlertFilter) -> bool:
    return state is AlertFilter.ALL or (kept.status.state == "closed") == (
        state is AlertFilter.CLOSED
    )


def _show_page(queue: AlertQueue, asked: QueueFilter) -> None:
    with queue.store() as store:
        page = store.page(asked, utc_now().date(), queue.hidden(store))
    rows = (
        (
            one.alert,
            f"{one.tier}{' or fewer' if one.or_fewer else ''}",
            " ".join(one.families),
            f"{one.age} d",
            f"{-one.due} d over" if one.due < 0 else f"in {one.due} d",
            one.state.replace("_", " "),
            one.holder or NOBODY,
        )
        for one in page.items
    )
    titles = ("alert", "families", "which", "age", "due", "state", "taken by")
    console().print(table(titles, rows, whole=("alert",)))
    typer.echo(f"{len(page.items)} of {page.total:,} alerts")
    for name, counts in page.counts.items():
        said = ", ".join(f"{value} {number:,}" for value, number in sorted(counts.items()))
        typer.echo(f"{name}: {said}")
    if page.following:
        typer.echo(f'Next page: --view "{page.following}"')


def _show_words(
    queue: AlertQueue, home: Path, alert: Alert, records: tuple[Path, ...], mapping: Path | None
) -> None:
    if isinstance(queue, CaseworkQueue) and queue.home is None:
        raise UsageError(
            f"--words: expected the institution's home, found the casework folder {home}: only "
            "users who may read the records can show their texts"
        )
    # Who only looks at a card does not wait for what reads records.
    from fieldfare.client.model_use import score as alert_words  # noqa: PLC0415 -- see above

    lines = alert_words.read_words(
        home, alert, records, mapping, user=os_user(), environment=os.environ
    )
    typer.echo("\n".join(lines))


def _show_entries(queue: AlertQueue, alert: Alert, most: int) -> None:
    with queue.store() as store:
        found = statement_of(queue, store, alert.alert)
    if found is None:
        raise UsageError(
            f"--entries: expected entries of {alert.alert}, found none: they were not kept, or "
            "their day is over; `score` keeps them with --entries FOLDER"
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


class AlertAct(StrEnum):
    """What a person does with an alert: a decision, or an act that is none."""

    DECIDE = "decide"
    TAKE = CaseActKind.TAKE.value
    RELEASE = CaseActKind.RELEASE.value
    COMMENT = CaseActKind.COMMENT.value
    UNDO = CaseActKind.UNDO.value


@app.command("institution.act")
def act(
    which: AlertArgument,
    kind: Annotated[AlertAct, typer.Argument(help="What to do.")],
    disposition: Annotated[
        Disposition | None, typer.Option(help="What you decided.", show_default=False)
    ] = None,
    role: Annotated[
        PartyRole | None,
        typer.Option(
            metavar="ROLE",  # a list of them is wider than a terminal
            help=f"Who this is in what may have happened: {', '.join(PartyRole)}.",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        Confidence | None, typer.Option(help="How sure you are.", show_default="medium")
    ] = None,
    note: Annotated[str, typer.Option(help="Why, or a comment's words; stays inside.")] = "",
    home: QueueOption = DEFAULT_HOME,
) -> None:
    """Decide on an alert, take it, give it back, comment, or undo your last decision of today.

    Acts are only added: what was undone stays in the history, and counts for nothing. To decide
    needs --disposition and --role. To file needs two persons' word; the last decision counts.
    Nothing is sent, frozen or closed elsewhere.
    """
    decision = {"--disposition": disposition, "--role": role, "--confidence": confidence}
    if kind is not AlertAct.DECIDE:
        refuse_options(decision, "`decide` as the act")
        _act(open_queue(home), which, CaseActKind(kind.value), note)
        return
    if disposition is None or role is None:
        raise UsageError("--disposition, --role: expected both beside `decide`, found one or none")
    if problem := note_problem(note):
        raise UsageError(f"--{problem}")
    _decide(open_queue(home), which, disposition, role, confidence or Confidence.MEDIUM, note)


def _decide(
    queue: AlertQueue,
    which: str,
    disposition: Disposition,
    role: PartyRole,
    confidence: Confidence,
    note: str,
) -> None:
    alert = _find(queue, which).alert
    decided = Feedback(alert.alert, utc_now(), os_user(), disposition, role, confidence, note)
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


def _act(queue: AlertQueue, which: str, kind: CaseActKind, note: str) -> None:
    alert = _find(queue, which).alert.alert
    done = queue.act(CaseAct(alert, utc_now(), os_user(), kind, note))
    if done.problem:
        raise UsageError(done.problem)
    with queue.store() as store:
        kept = store.find(alert)
    held = holder_of(kept.history)
    typer.echo(f"noted; alert {alert} is now: {kept.status.state}, taken by {held or NOBODY}")


@app.command("institution.labels")
def labels(
    out: Annotated[Path, typer.Option(help="The CSV file to write, new, for you alone.")],
    as_of: Annotated[
        str, typer.Option(help="Only what was known on this day, 2026-03-31; else now.")
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
        f"{len(found)} labels, {positive} of them positive: {out} (0600; it is a secret "
        "that a person was reported)"
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
    typer.echo(f'A person completes the {draft.decode().count(OPEN)} places that say "{OPEN}".')
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
            typer.echo(f"To draft with the last entry before them: --until {read.before}")
        typer.echo("The draft reports an activity, without transactions.")
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
    typer.echo("complete, and correct as far as our subset checks it; a person reads and files it")
