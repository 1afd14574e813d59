"""`fieldfare institution alerts`, `institution alert show`: the alerts, and their reasons.

Errors pass through: the root command turns them into exit codes.
"""

import json
import os
from enum import StrEnum
from typing import Annotated, Any

import typer

from fieldfare.client.institution.alert_store import Kept
from fieldfare.client.institution.alert_text import card, queue_table
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    DeskOption,
    MappingOption,
    RecordsOption,
)
from fieldfare.client.institution.desk import CaseworkDesk, open_desk
from fieldfare.client.institution.screen import console
from fieldfare.shared.errors import UsageError
from fieldfare.shared.next_command import at_home
from fieldfare.shared.os_user import os_user

alerts_app = typer.Typer(add_completion=False)
alert_show_app = typer.Typer(add_completion=False)

AlertArgument = Annotated[str, typer.Argument(metavar="ALERT", help="Its id or first digits.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Everything, as JSON.")]


class Shown(StrEnum):
    """Which alerts are listed."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


@alerts_app.command("alerts")
def alerts(
    home: DeskOption = DEFAULT_HOME,
    state: Annotated[Shown, typer.Option(help="Which alerts.")] = Shown.OPEN,
    as_json: JsonOption = False,
) -> None:
    """List the alerts that people look at, the newest scoring first."""
    desk = open_desk(home)
    with desk.store() as store:
        hidden = desk.hidden(store)
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


def _is(kept: Kept, state: Shown) -> bool:
    return state is Shown.ALL or (kept.standing.state == "closed") == (state is Shown.CLOSED)


@alert_show_app.command("show")
def show(
    which: AlertArgument,
    home: DeskOption = DEFAULT_HOME,
    as_json: JsonOption = False,
    words: Annotated[
        bool, typer.Option("--words", help="Of a text: read it, show which of its words moved it.")
    ] = False,
    records: RecordsOption = None,
    mapping: MappingOption = None,
) -> None:
    """Show one alert: the evidence, what speaks against it, who looks alike, what was decided.

    With --words the text is read from the records again, and kept nowhere; the log says who did.
    """
    desk = open_desk(home)
    with desk.store() as store:
        found = store.find(which, desk.hidden(store))
    if words:
        if isinstance(desk, CaseworkDesk) and desk.home is None:
            raise UsageError(
                f"--words: expected the institution's home, found the casework folder {home}: only "
                "users who may read the records can show their texts"
            )
        # Who only looks at a card does not wait for what reads records.
        from fieldfare.client.institution import alert_words  # noqa: PLC0415 -- see above

        lines = alert_words.read_words(
            home, found.alert, tuple(records or ()), mapping, user=os_user(), environment=os.environ
        )
        typer.echo("\n".join(lines))
        return
    if as_json:
        typer.echo(json.dumps(_row(found), indent=2))
        return
    console().print(card(found))


def _row(kept: Kept) -> dict[str, Any]:
    standing = kept.standing
    return {
        **kept.alert.model_dump(mode="json"),
        "state": standing.state,
        "party_role": standing.party_role.value,
        "disposition": standing.disposition.value if standing.disposition else None,
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
