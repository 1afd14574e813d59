"""`fieldfare institution models`, `institution model show`: the finished models that arrived.

Errors pass through: the root command turns them into exit codes.
"""

import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from fieldfare.client.institution.building import open_institution
from fieldfare.client.institution.card_text import card_text
from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.client.institution.kept_models import MODEL, find_model, kept_models
from fieldfare.client.institution.model_standing import (
    ModelStanding,
    Standing,
    standing_of_model,
)
from fieldfare.client.institution.screen import BAD, SHORT, console, plain
from fieldfare.shared.errors import ProtocolError

models_app = typer.Typer(add_completion=False)
model_show_app = typer.Typer(add_completion=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Everything, as JSON.")]


@models_app.command("models")
def models(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the finished models that arrived, with what each rests on."""
    institution = open_institution(home)
    found = [standing_of_model(kept, institution.roster) for kept in kept_models(institution.home)]
    if as_json:
        typer.echo(json.dumps([_row(one) for one in found], indent=2))
        return
    if not found:
        typer.echo("no model has arrived: one does when a run ends, or with")
        typer.echo("fieldfare institution import FILE")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("study", "name", "run", "finished", "verified"):
        table.add_column(title, overflow="fold")
    for one in found:
        card = one.card
        table.add_row(
            one.kept.study[:SHORT],
            Text(plain(card.name) if card else "-"),
            Text(one.kept.run),
            card.finished[:10] if card else "-",
            Text(plain(one.words, 200), BAD if one.standing is Standing.DOUBTFUL else ""),
        )
    console().print(table)


def _row(found: ModelStanding) -> dict[str, object]:
    card, recomputed = found.card, found.recomputed
    return {
        "study": found.kept.study,
        "run": found.kept.run,
        "name": card.name if card else None,
        "finished": card.finished if card else None,
        "verified": found.standing.value,
        "words": found.words,
        "recomputed": recomputed.model_dump(mode="json", exclude={"format"})
        if recomputed
        else None,
        "folder": str(found.kept.folder),
    }


@model_show_app.command("show")
def show(
    which: Annotated[
        str, typer.Argument(metavar="STUDY|RUN", help="A run, or first digits of its study.")
    ],
    home: HomeOption = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="The card itself.")] = False,
) -> None:
    """Show a model's card, and where its page and file are."""
    institution = open_institution(home)
    kept = find_model(institution.home, which)
    found = standing_of_model(kept, institution.roster)
    if found.card is None:
        raise ProtocolError(f"{kept.folder}: {found.words}")
    if as_json:
        typer.echo(found.card.to_bytes().decode())
        return
    console().print(card_text(found.card))
    typer.echo("")
    typer.echo(f"verified: {found.words}")
    typer.echo(f"page:     {kept.page}")
    typer.echo(f"model:    {kept.folder / MODEL}")
