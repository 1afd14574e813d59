"""`fieldfare institution ledger ...`: the population's budget, its history and its remainder.

Errors pass through: the root command turns them into exit codes.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.ledger_export import registry_record
from fieldfare.client.institution.ledger_report import (
    Report,
    report,
    report_json,
    report_lines,
)
from fieldfare.client.institution.policy import load_policy
from fieldfare.client.institution.restoring import (
    accept_restore,
    check_not_behind,
    open_ledger,
    split_off,
)
from fieldfare.client.institution.screen import SHORT
from fieldfare.client.institution.settings import load_settings
from fieldfare.client.institution.telling import told_custodian
from fieldfare.client.ledger import Entry, Ledger, from_picomu2, to_picomu2
from fieldfare.client.ledger_restore import Acceptance
from fieldfare.shared.clock import utc_now
from fieldfare.shared.os_user import os_user

ledger_show_app = typer.Typer(add_completion=False)
ledger_verify_app = typer.Typer(add_completion=False)
ledger_accept_restore_app = typer.Typer(add_completion=False)
ledger_split_app = typer.Typer(add_completion=False)
ledger_export_app = typer.Typer(add_completion=False)

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it stays in the ledger and in the log.")
]


@ledger_show_app.command("show")
def show(
    home: HomeOption = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, for programs.")] = False,
) -> None:
    """Show what is left of the budget, what it was spent on and what happened last."""
    opened = Home.open(home)
    with open_ledger(opened) as ledger:
        found = _report(opened, ledger)
        if as_json:
            typer.echo(json.dumps(report_json(found), indent=2))
        else:
            typer.echo("\n".join(report_lines(found)))
        check_not_behind(ledger)


@ledger_verify_app.command("verify")
def verify(home: HomeOption = DEFAULT_HOME) -> None:
    """Recompute the whole chain, all totals and the hash of everything that left."""
    with open_ledger(Home.open(home)) as ledger:
        ledger.verify()
        check_not_behind(ledger)
        position = ledger.position()
    typer.echo(
        f"ledger verified: {position.sequence} entries, epoch {position.epoch}, mu^2 "
        f"{from_picomu2(position.cumulative)!r} spent, head {position.head[:SHORT]}"
    )


@ledger_accept_restore_app.command("accept-restore")
def accept(
    reason: ReasonOption,
    home: HomeOption = DEFAULT_HOME,
    kept: Annotated[
        int | None,
        typer.Option(
            min=0, help="The last entry that was in the restored copy.", show_default=False
        ),
    ] = None,
    spent: Annotated[
        float | None,
        typer.Option(help="mu^2 that was ever spent, if no witness is left.", show_default=False),
    ] = None,
    study: Annotated[
        str,
        typer.Option(
            help="Whose spend the lost entries were; otherwise every study's.", show_default=False
        ),
    ] = "",
) -> None:
    """Go on with a restored ledger as a new epoch: all that was lost counts as spent."""
    terms = Acceptance(
        user=os_user(),
        reason=reason,
        kept=kept,
        spent=None if spent is None else to_picomu2(spent),
        study=study,
    )
    opened = Home.open(home)
    accepted = accept_restore(opened, terms)
    position, carried = accepted.position, accepted.stated.carried
    typer.echo(
        f"accepted as epoch {position.epoch}: mu^2 {from_picomu2(carried)!r} carried over, "
        f"{from_picomu2(position.cumulative)!r} spent in all\n"
        "Every key and approval from before is gone: approve the studies that shall go on.\n"
        + told_custodian(opened, load_settings(opened))
    )


@ledger_split_app.command("split")
def split(
    reason: ReasonOption,
    into: Annotated[
        Path,
        typer.Option("--into", help="The part's own folder: made by init, its population named."),
    ],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """State that some people or cases are a population of their own, from now on and for good.

    Both go on with everything that was spent so far. No person or case may ever be in both.
    """
    part = split_off(Home.open(home), Home.open(into), user=os_user(), reason=reason)
    typer.echo(
        f"split off {part.name}: {part.path}\n"
        "Both ledgers have spent what was spent so far, and debit apart from now on. It holds "
        "while no person or case is in the records of both, and none moves between them."
    )


@ledger_export_app.command("export")
def export(home: HomeOption = DEFAULT_HOME) -> None:
    """Print a record for OpenDP's registry of deployments, as JSON; it says what to fill in."""
    opened = Home.open(home)
    with open_ledger(opened) as ledger:
        check_not_behind(ledger)
        found, first = _report(opened, ledger), next(ledger.entries(), None)
    time = first.time if isinstance(first, Entry) else None
    typer.echo(json.dumps(registry_record(found, load_settings(opened).id, time), indent=2))


def _report(home: Home, ledger: Ledger) -> Report:
    return report(ledger, load_settings(home).population, load_policy(home), utc_now())
