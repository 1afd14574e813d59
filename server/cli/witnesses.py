"""`fieldfare coordinator witnesses` and `publish`: what parties outside see of runs."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from fieldfare.server.cli.runs import RunArgument
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.home.settings import load_settings
from fieldfare.server.store.store import run_store
from fieldfare.server.studies.run_control import find_run
from fieldfare.server.upkeep.publication import log_key, publish
from fieldfare.server.upkeep.submission import WitnessStanding, ask_witness, poster, standing
from fieldfare.shared.terminal.screen import console, facts

EXIT_NOT_SIGNED: Final = 1


@app.command("coordinator.witnesses")
def witnesses(
    home: HomeOption = DEFAULT_HOME,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask those now that did not sign everything.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the log of heads, the key that witnesses need, and how far each of them signed.

    Exits with 1 where one that was asked did not sign.
    """
    opened = CoordinatorHome.open(home)
    key, post = log_key(opened), poster()
    with run_store(opened.runs_database) as store:
        size = store.head_log_size(key.name)
        found = [
            ask_witness(store, key.name, one, post) if ask else standing(store, key.name, one)
            for one in load_settings(opened).witnesses.witness
        ]
    if as_json:
        said = {"log": key.name, "key": key.text, "heads": size}
        typer.echo(json.dumps({**said, "witnesses": list(map(_json, found))}, indent=2))
    else:
        # Not folded: these two are copied to the witnesses.
        typer.echo(f"log of heads, {size} of them:\n{key.name}\nits verifier key:\n{key.text}")
        console().print(facts(_rows(size, found)))
    if any(one.trouble for one in found):
        raise typer.Exit(EXIT_NOT_SIGNED)


def _rows(size: int, found: list[WitnessStanding]) -> Iterator[tuple[str, str]]:
    for one in found:
        said = _signed(size, one.cosigned)
        yield one.key.name, said + (f"; {one.trouble}" if one.trouble else "")
    if not found:
        yield "witnesses", "none: name them under [witnesses] in coordinator.toml"


def _signed(size: int, cosigned: int) -> str:
    if not size:
        return "has nothing to sign yet"
    return "signed all of it" if cosigned == size else f"signed the first {cosigned} heads"


def _json(one: WitnessStanding) -> dict[str, Any]:
    return {
        "name": one.key.name,
        "url": one.url,
        "signed_heads": one.cosigned,
        "trouble": one.trouble or None,
    }


@app.command("coordinator.publish")
def publish_run(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write what an outsider needs to check a run: its transcript, and its witnessed heads.

    Refused, with exit status 3, where fewer witnesses signed its end than coordinator.toml asks
    for.
    """
    opened = CoordinatorHome.open(home)
    with run_store(opened.runs_database) as store:
        row = find_run(store, run)
        made = publish(opened, store, row.run, out)
    if as_json:
        found = {"run": row.run, "transcript": str(made.transcript), "heads": str(made.heads)}
        typer.echo(json.dumps({**found, "witnesses": made.witnesses}, indent=2))
        return
    typer.echo(f"{out}: {row.run}, signed by {made.witnesses} witnesses")
    typer.echo(f"strangers need your roster key with it: {roster_public(opened)}")
    files = [str(made.transcript), "--witnessed", str(made.heads)]
    words = [*files, "--coordinator-key", roster_public(opened)]
    typer.echo(f"Next: {shlex.join(['fieldfare', 'audit', 'transcript', *words])}")
