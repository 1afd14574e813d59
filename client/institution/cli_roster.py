"""`fieldfare institution roster accept FILE`: look at every fingerprint, then pin.

Errors pass through: the root command turns them into exit codes.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fieldfare.client.institution.building import open_journal
from fieldfare.client.institution.cli_home import DEFAULT_HOME, EXIT_DECLINED, HomeOption
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.journal import Event
from fieldfare.client.institution.keys import public_identity
from fieldfare.client.institution.policy import load_policy, pinned_coordinator
from fieldfare.client.institution.roster import (
    MemberChange,
    check_member,
    check_newer,
    member_lines,
    offered_roster,
    pin_roster,
    pinned_roster,
)
from fieldfare.client.institution.screen import BAD, console, plain
from fieldfare.client.institution.settings import load_settings
from fieldfare.client.institution.telling import told_custodian
from fieldfare.shared.clock import utc_now
from fieldfare.shared.identity import fingerprint
from fieldfare.shared.os_user import os_user
from fieldfare.shared.roster import Roster
from fieldfare.shared.sealed_files import read_sealed

roster_accept_app = typer.Typer(add_completion=False)


@roster_accept_app.command("accept")
def accept(
    file: Annotated[Path, typer.Argument(help="The signed roster that the coordinator sent.")],
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: the fingerprints were compared before.")
    ] = False,
) -> None:
    """Check a signed roster, show every member's fingerprint, and pin it."""
    opened = Home.open(home)
    settings = load_settings(opened)
    coordinator = pinned_coordinator(opened, load_policy(opened))
    content = read_sealed(file)
    roster = offered_roster(content, str(file), coordinator)
    check_member(roster, str(file), settings.id, public_identity(opened))
    pinned = pinned_roster(opened, coordinator) if opened.roster.exists() else None
    check_newer(roster, str(file), pinned)
    if roster == pinned:
        typer.echo(f"version {roster.version} is pinned already")
        return
    _show(roster, pinned, settings.id, console())
    if not yes and not typer.confirm("Did you compare these with the coordinator? Pin them?"):
        typer.echo("nothing was pinned")
        raise typer.Exit(EXIT_DECLINED)
    # Logged first: a roster whose pinning is not in the log never counts.
    journal = open_journal(opened, utc_now)
    journal.append(Event.ROSTER, os_user(), fingerprint=roster.hash, version=roster.version)
    pin_roster(opened, content)
    typer.echo(f"pinned roster version {roster.version}, {len(roster.members)} members")
    if pinned is not None:
        typer.echo(
            "Approvals under the earlier roster count no more: approve running studies again."
        )
    typer.echo(told_custodian(opened, settings))


def _show(roster: Roster, pinned: Roster | None, institution: str, to: Console) -> None:
    since = f" (pinned: version {pinned.version})" if pinned else " (none pinned yet)"
    to.print(Text(f"roster version {roster.version}{since}"))
    table = Table.grid(padding=(0, 2))
    table.add_row("coordinator", fingerprint(bytes.fromhex(roster.coordinator)), "")
    for line in member_lines(roster, pinned):
        changed = line.change is not MemberChange.SAME
        name = plain(line.id) + (" (you)" if line.id == institution else "")
        table.add_row(Text(name), line.fingerprint, Text(line.change.value, BAD if changed else ""))
    to.print(table)
    known = f"one person may be known to at most {roster.multiplicity} of them"
    if pinned is not None and pinned.multiplicity != roster.multiplicity:
        to.print(Text(f"{known}; CHANGED from {pinned.multiplicity}", BAD))
    else:
        to.print(Text(known))
