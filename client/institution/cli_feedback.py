"""`fieldfare institution feedback`, `institution labels`: decisions, and labels made of them.

Errors pass through: the root command turns them into exit codes.
"""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.institution.casework import Deed
from fieldfare.client.institution.cli_alerts import AlertArgument
from fieldfare.client.institution.cli_home import DEFAULT_HOME, DeskOption
from fieldfare.client.institution.desk import open_desk
from fieldfare.client.scoring.alert import Confidence, Disposition, PartyRole
from fieldfare.client.scoring.labels import REVIEWERS_TO_FILE, Feedback, Label
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import UsageError
from fieldfare.shared.media_gate import prose_problem
from fieldfare.shared.next_command import at_home
from fieldfare.shared.os_user import os_user
from fieldfare.shared.private_files import create_private

MOST_NOTE: Final = 4000  # characters
COLUMNS: Final = (
    "unit", "label", "source", "confidence", "observed_at", "effective_from", "selected"
)  # fmt: skip

feedback_app = typer.Typer(add_completion=False)
labels_app = typer.Typer(add_completion=False)


@feedback_app.command("feedback")
def feedback(
    which: AlertArgument,
    disposition: Annotated[Disposition, typer.Option(help="What you decided.")],
    role: Annotated[PartyRole, typer.Option(help="Who this is in what may have happened.")],
    confidence: Annotated[Confidence, typer.Option(help="How sure.")] = Confidence.MEDIUM,
    note: Annotated[str, typer.Option(help="Why; stays inside.")] = "",
    home: DeskOption = DEFAULT_HOME,
) -> None:
    """Write down what a person decided about an alert. Nothing is sent, frozen or closed elsewhere.

    Decisions are only added. To file needs two persons' word; the last decision counts.
    """
    if len(note) > MOST_NOTE:
        raise UsageError(f"--note: expected at most {MOST_NOTE} characters, found more")
    problem = prose_problem(note)
    if problem:  # harm rule 6
        raise UsageError(f"--note: expected words, {problem}; keep it where it came from")
    desk, user = open_desk(home), os_user()
    with desk.store() as store:
        alert = store.find(which, desk.hidden(store)).alert
        decided = Feedback(alert.alert, utc_now(), user, disposition, role, confidence, note)
        desk.decide(store, alert, decided)
    with desk.store() as store:
        standing = store.find(alert.alert).standing
    typer.echo(f"noted; alert {alert.alert} is now: {standing.state}")
    if standing.state == "second_review":
        typer.echo(f"{REVIEWERS_TO_FILE} persons are needed to file: {desk.second}")
    if standing.disposition is Disposition.FILE:
        draft = f"fieldfare institution export {alert.alert} --format goaml --out FILE"
        typer.echo(at_home(f"Next: {draft}"))


@labels_app.command("labels")
def labels(
    out: Annotated[Path, typer.Option(help="The CSV file to write, new, for you alone.")],
    as_of: Annotated[
        str, typer.Option(help="Only what was known then, 2026-03-31; else now.")
    ] = "",
    home: DeskOption = DEFAULT_HOME,
) -> None:
    """Write what was settled as labels for the next study, each with the time it was known from.

    A model may learn from a label only with features from before `effective_from`.
    """
    moment = _moment(as_of) if as_of else utc_now()
    desk = open_desk(home)
    with desk.store() as store:
        found = store.labels(moment)
    desk.note(Deed.LABELS)
    try:
        create_private(out, _csv(found).encode())
    except OSError as error:
        raise UsageError(f"{out}: expected a new file, found: {error.strerror}") from None
    positive = sum(label.value for label in found)
    typer.echo(f"{len(found)} labels, {positive} of them positive: {out} (0600; that somebody was "
               "reported is itself secret)")  # fmt: skip


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--as-of: expected a time such as 2026-03-31, found {text[:40]!a}"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _csv(found: list[Label]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in found:
        writer.writerow(
            (one.unit, one.value, one.source, one.confidence.value, one.observed_at.isoformat(),
             one.effective_from.isoformat(), one.selected)
        )  # fmt: skip
    return text.getvalue()
