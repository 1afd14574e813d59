"""`fieldfare institution vectors`: rank units by their vectors.

Errors pass through: the root command turns them into exit codes.
"""

from typing import Annotated, Final

import typer

from fieldfare.client.institution.building import open_institution
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    HomeOption,
    MappingOption,
    ModelOption,
    RecordsOption,
)
from fieldfare.client.institution.cli_texts import ranked_by, top_lines
from fieldfare.client.institution.scoring import Sources
from fieldfare.client.institution.usable_model import usable_model

KIND: Final = "vector"
LIMIT: Final = "a vector has no reasons that people can read: look at what your tool made it from"

vectors_app = typer.Typer(add_completion=False)


@vectors_app.command("vectors")
def vectors(
    model: ModelOption,
    home: HomeOption = DEFAULT_HOME,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    top: Annotated[int, typer.Option(min=1, max=10_000, help="How many to list.")] = 20,
) -> None:
    """Rank units by their vectors with a finished model.

    For people inside the institution: nothing is written or sent. The software ranks; it closes,
    freezes and reports nothing.
    """
    institution = open_institution(home)
    used = usable_model(institution, model, KIND)
    ranked, _ = ranked_by(institution, used, Sources(tuple(records or ()), mapping))
    typer.echo("\n".join([*top_lines(used, ranked, top), LIMIT]))
