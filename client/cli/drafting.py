"""`fieldfare study new` and `records assemble`: draft a study of a public sample, join records."""

from datetime import date
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import day_given
from fieldfare.client.drafting.draft import DEFAULT_EPSILON, draft_study
from fieldfare.client.records import assembling
from fieldfare.client.records.encoding.columns import asked_by
from fieldfare.client.typologies.extract import open_extract
from fieldfare.client.typologies.features import UNIT, day_of, feature_table
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import UsageError
from fieldfare.shared.study.file import load_study


class ModelKind(StrEnum):
    """The kinds of model that a draft may be of."""

    ADDITIVE = "additive"
    MLP = "mlp"


@app.command("study.new")
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
    keep: Annotated[
        str, typer.Option(help="Columns to keep that look like ids or names of people.")
    ] = "",
    institution_column: Annotated[
        str | None, typer.Option(help="The column that names institutions; no feature.")
    ] = None,
    epsilon: Annotated[float, typer.Option(help="The study's epsilon.")] = DEFAULT_EPSILON,
    delta: Annotated[
        float | None, typer.Option(help="The study's delta; else 1e-5, less for many units.")
    ] = None,
    units: Annotated[
        int | None, typer.Option(help="Units of all institutions (public); else the sample's.")
    ] = None,
    prevalence: Annotated[
        float | None, typer.Option(help="Share of positives (public); else the sample's.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The study's name; else the file's.")] = None,
    kind: Annotated[
        ModelKind, typer.Option(help="The model: curves that add up, or a network.")
    ] = ModelKind.ADDITIVE,
) -> None:
    """Draft a study from a sample that this command declares public; TOML to stdout."""
    text = draft_study(
        records,
        label=label,
        positive=positive,
        unit=unit,
        exclude=[column.strip() for column in exclude.split(",") if column.strip()],
        keep=[column.strip() for column in keep.split(",") if column.strip()],
        institution_column=institution_column,
        epsilon=epsilon,
        delta=delta,
        units=units,
        prevalence=prevalence,
        name=name,
        kind=kind.value,
        notify=partial(typer.echo, err=True),
    )
    typer.echo(text, nl=False)


UnitOption = Annotated[str, typer.Option(help="Without --study: what the study calls the unit.")]
LabelOption = Annotated[str, typer.Option(help="Without --study: what it calls the label.")]
UnitColumnOption = Annotated[
    str,
    typer.Option(
        help="What the files call the unit.",
        show_default="as the study, unit, customer_id or subject_id",
    ),
]
LabelColumnOption = Annotated[
    str,
    typer.Option(
        help="What the labels' file calls it.", show_default="as the study, label or value"
    ),
]
KnownColumnOption = Annotated[
    str, typer.Option(help="The labels' column of days.", show_default="known or observed_at")
]
LabelsUntilOption = Annotated[
    str,
    typer.Option(
        help="The day of training, where it is later than the features': labels known by then "
        "count. What began after the features' day does not belong among them.",
        show_default="the features' day",
    ),
]
KnownAlwaysOption = Annotated[
    bool,
    typer.Option(
        "--known-always", help="The labels have no day and all count: only if none came later."
    ),
]


@app.command("records.assemble")
def records_assemble(
    features: Annotated[
        Path,
        typer.Option(
            help="A file with a row for each unit, as `typologies run` writes; or the canonical "
            "records themselves, whose indicators are then computed."
        ),
    ],
    labels: Annotated[Path, typer.Option(help="Unit, label, and the day since which it is known.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write, new, for you alone.")],
    study: Annotated[
        Path | None, typer.Option(help="The study: names the columns, and only they are kept.")
    ] = None,
    as_of: Annotated[
        str,
        typer.Option(
            help="The day: labels known later do not count.", show_default="as the features say"
        ),
    ] = "",
    labels_until: LabelsUntilOption = "",
    others: Annotated[
        str | None,
        typer.Option(help="The label of units that no label names, such as 0; none: left out."),
    ] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="A further file with a row for each unit: groups.")
    ] = None,
    unit: UnitOption = "unit",
    label: LabelOption = "label",
    unit_column: UnitColumnOption = "",
    label_column: LabelColumnOption = "",
    known_column: KnownColumnOption = "",
    known_always: KnownAlwaysOption = False,
) -> None:
    """Join features, the labels known on their day, and groups into the one file a study reads.

    Says in counts what became of every label, never a value. Nothing leaves this machine.
    """
    if out.suffix != ".parquet":
        raise UsageError(f"--out: expected a name that ends in .parquet, found {out.name}")
    plan = load_study(study) if study is not None else None
    if plan is not None and plan.records.unit is None:
        raise UsageError(f"{study}: expected a study whose records.unit names a column, found none")
    own = (plan.records.unit or unit, plan.records.label) if plan is not None else (unit, label)
    names = assembling.Names(*own, unit_column, label_column, known_column, known_always)
    day, table = _features(features, as_of, names)
    until = _until(labels_until, day)
    known = assembling.read_labels(labels, names, until)
    further = [assembling.read_units(path, names) for path in beside or ()]
    found = assembling.assemble(
        table, known, further, names,
        wanted=None if plan is None else asked_by(plan),
        others="" if others == "none" else others,
    )  # fmt: skip
    assembling.write_assembled(found.table, out, day)
    typer.echo("\n".join(assembling.assembled_lines(found, until, others)))
    typer.echo(f"wrote {out} (0600; protect it like the records)")


def _until(text: str, day: date) -> date:
    """Return the day by which labels count: that of the features, or a later one."""
    until = day_given(text, "--labels-until") if text else day
    if until < day:
        raise UsageError(
            f"--labels-until: expected {day}, the day of the features, or a later one, found "
            f"{until}"
        )
    return until


def _features(path: Path, as_of: str, names: assembling.Names) -> tuple[date, assembling.UnitFile]:
    """Read the features, or compute them; return the day that they are of, too."""
    day = day_given(as_of, "--as-of") if as_of else None
    if path.is_dir() and any(path.glob("transactions*")):
        if day is None:
            raise UsageError("--as-of: expected the last day to look at, such as 2026-03-31")
        with open_extract(path, day) as extract:
            computed = feature_table(extract, own_pack())
        return day, assembling.UnitFile(str(path), UNIT, computed.table)
    said = day_of(path)
    if day is not None and said is not None and day != said:
        raise UsageError(
            f"--as-of: expected {said}, the day of the features in {path}, found {day}: compute "
            "the features of that day, or say --labels-until where labels came later"
        )
    found = day or said
    if found is None:
        raise UsageError(
            f"--as-of: expected the day of the features, such as 2026-03-31: {path} does not say it"
        )
    return found, assembling.read_units(path, names)
