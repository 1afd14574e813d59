"""The institution's commands: draft a study from a public sample, derive records.

Errors pass through: the root command turns them into exit codes.
"""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.drafting import DEFAULT_DELTA, DEFAULT_EPSILON, draft_study
from fieldfare.client.records.amlsim import derive_amlsim
from fieldfare.client.typologies.published import derive_amlsim_pack

study_new_app = typer.Typer(add_completion=False)
records_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Derive records from published data."
)


class Derivation(Enum):
    """Published data that records can be derived from."""

    AMLSIM = "amlsim"
    AMLSIM_PACK = "amlsim-pack"  # the same accounts, with the typology pack's indicators


def _notice(line: str) -> None:
    typer.echo(line, err=True)


def study_new(
    records: Annotated[
        list[Path],
        typer.Option(help="A sample: CSV (also .gz), Parquet or Arrow. This declares it public."),
    ],
    label: Annotated[str, typer.Option(help="The label's column.")],
    positive: Annotated[
        str | None, typer.Option(help='Which labels are positive: "VALUE" or "> 0".')
    ] = None,
    unit: Annotated[str | None, typer.Option(help="The column with the unit's id.")] = None,
    exclude: Annotated[str, typer.Option(help="Columns to leave out: COL,COL,...")] = "",
    institution_column: Annotated[
        str | None, typer.Option(help="The column that names institutions; no feature.")
    ] = None,
    epsilon: Annotated[float, typer.Option(help="The study's epsilon.")] = DEFAULT_EPSILON,
    delta: Annotated[float, typer.Option(help="The study's delta.")] = DEFAULT_DELTA,
    units: Annotated[
        int | None, typer.Option(help="Units of all institutions (public); else the sample's.")
    ] = None,
    prevalence: Annotated[
        float | None, typer.Option(help="Share of positives (public); else the sample's.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The study's name; else the file's.")] = None,
) -> None:
    """Draft a study from a sample that this command declares public; TOML to stdout."""
    text = draft_study(
        records,
        label=label,
        positive=positive,
        unit=unit,
        exclude=[column.strip() for column in exclude.split(",") if column.strip()],
        institution_column=institution_column,
        epsilon=epsilon,
        delta=delta,
        units=units,
        prevalence=prevalence,
        name=name,
        notify=_notice,
    )
    typer.echo(text, nl=False)


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


study_new_app.command("new")(study_new)
records_app.command("derive")(records_derive)


@records_app.callback()
def _records() -> None:
    """Keep `derive` a command of its own while it is the only one."""
