"""`fieldfare coordinator propose`, `studies`, `approvals`.

Errors pass through: the root command turns them into exit codes.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fieldfare.server.approvals import Heard, given, heard_of
from fieldfare.server.cli_home import DEFAULT_HOME, HomeOption, JsonOption, PassphraseFileOption
from fieldfare.server.cli_screen import console
from fieldfare.server.desk import Desk, open_desk
from fieldfare.server.founding import load_signing_key
from fieldfare.server.proposals import Proposal, find_study, proposals, propose
from fieldfare.server.publication import published_roster
from fieldfare.server.run_view import ago, plain
from fieldfare.server.settings import load_settings
from fieldfare.server.steering import await_end, say_hello
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import RunError
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.messages import IdentitySigner
from fieldfare.shared.next_command import at_home
from fieldfare.shared.prospects import cautions, obstacles
from fieldfare.shared.study import load_study
from fieldfare.shared.study_cli import plan_lines

HELLO_SECONDS = 60.0  # for a process to begin and to end, beside what institutions may take

propose_app = typer.Typer(add_completion=False)
studies_app = typer.Typer(add_completion=False)
approvals_app = typer.Typer(add_completion=False)

StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="Its name, its id or the first digits of it.")
]


@propose_app.command("propose")
def propose_study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    no_hello: Annotated[
        bool, typer.Option("--no-hello", help="Sign and keep it, send nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check and sign a study, and let the institutions know of it."""
    with open_desk(home) as desk:
        signer = IdentitySigner(load_signing_key(desk.home, read_passphrase(passphrase_file)))
        made = propose(desk.home, load_study(file), signer)
        hello, note = (None, "nothing was sent") if no_hello else _greet(desk, made)
        path = desk.home.study(made.id)
    if as_json:
        found = {"study": made.id, "name": made.study.name, "file": str(path)}
        weak = {"obstacles": obstacles(made.plan), "cautions": cautions(made.plan)}
        typer.echo(json.dumps({**found, **weak, "hello": hello, "note": note}, indent=2))
        return
    for text in plan_lines(made.plan):
        typer.echo(text)
    typer.echo(f"proposed as {made.short}, signed in {path}")
    typer.echo(note)
    typer.echo(at_home(f"Next: fieldfare coordinator approvals {made.short} --refresh"))


def _greet(desk: Desk, made: Proposal) -> tuple[int | None, str]:
    """Send a study out; without a SuperLink it is enough to say so."""
    if published_roster(desk.home) is None:
        return None, (
            "nothing was sent, for no roster is published: fieldfare coordinator roster, then "
            "propose it again"
        )
    try:
        hello = say_hello(desk.control, desk.bundle, made.id)
    except RunError as error:
        return None, f"institutions get it with the next run or hello: {error}"
    return hello, "institutions that are online get it now, others with the next run or hello"


@studies_app.command("studies")
def studies(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the studies that were proposed, with who approved them."""
    with open_desk(home) as desk:
        roster = published_roster(desk.home)
        found = [
            (one, heard_of(roster, one.id, desk.store.approvals(one.id)))
            for one in proposals(desk.home)
        ]
    if as_json:
        typer.echo(json.dumps([_study_json(one, heard) for one, heard in found], indent=2))
        return
    if not found:
        typer.echo("no study was proposed: fieldfare coordinator propose STUDY.toml")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    noes = ["no from"] if any(said.no for _, heard in found for said in heard.values()) else []
    for title in ("study", "name", "epsilon", "proposed", "approved by", *noes):
        table.add_column(title, overflow="fold")
    for one, heard in found:
        privacy = one.study.privacy
        approved = [name for name, said in heard.items() if said.approval]
        refused = [name for name, said in heard.items() if said.no]
        table.add_row(
            *(one.short, one.study.name, f"{privacy.epsilon:g} at {privacy.delta:g}"),
            ago(utc_now() - one.at),
            Text(plain(", ".join(approved) or "nobody yet")),
            *(Text(plain(", ".join(refused))) for _ in noes),
        )
    console().print(table)


@approvals_app.command("approvals")
def approvals(
    study: StudyArgument,
    home: HomeOption = DEFAULT_HOME,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the institutions first; they are online.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which institution approved a study, under which hash, and when it was heard."""
    with open_desk(home) as desk:
        found = find_study(desk.home, study)
        if refresh:
            ask_institutions(desk, found)
        heard = heard_now(desk, found)
    if as_json:
        typer.echo(json.dumps(_study_json(found, heard), indent=2))
        return
    typer.echo(f"{found.study.name}  {found.id}")
    if not heard:
        typer.echo("no institution is on the roster: fieldfare coordinator roster")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in ("institution", "says", "approval", "heard"):
        table.add_column(title, overflow="fold")
    for name, said in heard.items():
        table.add_row(
            *(Text(plain(name)), Text(plain(said.text)), said.approval[:12]),
            ago(utc_now() - said.at) if said.at else "",
        )
    console().print(table)
    least = found.study.aggregation.minimum_institutions
    if given(heard) < least:
        typer.echo(f"{given(heard)} of at least {least} approvals")
    else:
        typer.echo(at_home(f"Next: fieldfare coordinator run start {found.short}"))


def heard_now(desk: Desk, found: Proposal) -> dict[str, Heard]:
    """Return what is known of what the institutions say to a study."""
    return heard_of(published_roster(desk.home), found.id, desk.store.approvals(found.id))


def ask_institutions(desk: Desk, found: Proposal) -> None:
    """Ask the institutions that are online what they say to a study, and wait for it.

    Raises:
        RunError: the SuperLink cannot be reached, or the hello did not end well.
    """
    wait = load_settings(desk.home).wait_seconds + found.study.aggregation.deadline_seconds
    hello = say_hello(desk.control, desk.bundle, found.id)
    status = await_end(
        desk.control,
        hello,
        seconds=2 * wait + HELLO_SECONDS,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )
    if status.state != "completed":
        raise RunError(
            f"expected answers of the institutions, found that the hello ended as {status.state}: "
            f"{status.reason or 'see what `fieldfare coordinator start` says'}"
        )


def _study_json(one: Proposal, heard: Mapping[str, Heard]) -> dict[str, Any]:
    privacy = one.study.privacy
    return {
        "study": one.id,
        "name": one.study.name,
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "proposed": one.at.isoformat(),
        "minimum_institutions": one.study.aggregation.minimum_institutions,
        "institutions": {
            name: {
                "says": said.text,
                "approval": said.approval or None,
                "no": said.no,
                "heard": said.at.isoformat() if said.at else None,
            }
            for name, said in heard.items()
        },
    }
