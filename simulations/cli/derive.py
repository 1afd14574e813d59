"""`fieldfare records derive`: records of published data."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.simulations.cli import app
from fieldfare.simulations.published.amlsim import derive_amlsim, derive_amlsim_pack


class Derivation(Enum):
    """Published data that records can be derived from."""

    AMLSIM = "amlsim"
    AMLSIM_PACK = "amlsim-pack"  # the same accounts, with the typology pack's indicators


@app.command("records.derive")
def records_derive(
    kind: Annotated[Derivation, typer.Argument(help="What FOLDER holds.")],
    folder: Annotated[Path, typer.Argument(help="The published data, as downloaded.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
) -> None:
    """Derive records with one row per unit: unit, institution, label, features."""
    if kind is Derivation.AMLSIM:
        derive_amlsim(folder, out)
    else:
        typer.echo("\n".join(derive_amlsim_pack(folder, out)))
