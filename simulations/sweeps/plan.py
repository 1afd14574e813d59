"""What a sweep is: a study, records, axes and seeds, from TOML or from keywords."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.public_start import NAME_PATTERN
from fieldfare.shared.study.study import MAX_INSTITUTIONS
from fieldfare.shared.study.toml import PathText, Section, load_toml, problem_lines
from fieldfare.simulations.engines.engine import Engine

COLUMN: Final = "column:"  # a partition by a natural column
FAULTS: Final = ("dropouts", "stragglers")  # axes of what only messages have


class Learner(StrEnum):
    """Who learned a model that is measured."""

    FEDERATED = "federated"
    ALONE = "alone"
    AT_HOME = "at_home"
    POOLED = "pooled"


Share = Annotated[float, Field(ge=0, lt=1)]
Start = Annotated[str, Field(pattern=rf"^none$|{NAME_PATTERN}")]


class Axes(Section):
    """The values of each axis; one that is left out stays as the study has it.

    Attributes:
        epsilon: of the study's promise.
        institutions: to which records of one file are dealt.
        units: records that take part, of all; the study's public count of units follows them.
        partition: `iid`, `dirichlet:A` over labels, `quantity:A` over sizes, `skew:COLUMN:S` by
            a number, `column:NAME` as a column says; the last one takes no number of institutions.
        collusion_tolerance: t, how many institutions may pool what they know.
        dropouts: share of institutions that leave for good before training ends.
        stragglers: share of questions of the coordinator that are not answered before they are
            asked again.
        steps: of training.
        slots: most knots of a feature that is a number; fewer of the study's own, both ends kept.
        geometry: coordinates of training.
        start: public curves to start from.
        model: kind of model, with its defaults.
    """

    epsilon: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field((), strict=False)
    institutions: tuple[Annotated[int, Field(ge=3, le=MAX_INSTITUTIONS)], ...] = Field(
        (), strict=False
    )
    units: tuple[Annotated[int, Field(ge=1)], ...] = Field((), strict=False)
    partition: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        (), strict=False
    )
    collusion_tolerance: tuple[Annotated[int, Field(ge=1)], ...] = Field((), strict=False)
    dropouts: tuple[Share, ...] = Field((), strict=False)
    stragglers: tuple[Share, ...] = Field((), strict=False)
    steps: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field((), strict=False)
    slots: tuple[Annotated[int, Field(ge=2)], ...] = Field((), strict=False)
    geometry: tuple[Literal["none", "whitened", "centred"], ...] = Field((), strict=False)
    start: tuple[Start, ...] = Field((), strict=False)
    model: tuple[Literal["additive", "mlp"], ...] = Field((), strict=False)

    @field_validator("*")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("expected different values, found one twice")
        return values

    def varied(self) -> dict[str, tuple[Any, ...]]:
        """Return the axes that are given, by name, in the order of the grid."""
        return {name: getattr(self, name) for name in AXES if getattr(self, name)}


AXES: Final = tuple(Axes.model_fields)


class SweepPlan(Section):
    """A sweep, as its TOML file or keywords say it.

    Attributes:
        study: file of the study.
        records: FILE, or NAME=FILE for each institution; relative to the folder of the sweep.
        axes: what is varied.
        seeds: of split, partition and noise; each point is run under all of them.
        beside: what is measured beside the model of the federation.
        engine: what carries each point out. The table is the same: `custodians`, real ones; `sums`,
            one pass, where nobody leaves or is late; `ray`, points as tasks of a Ray cluster, by
            `sums` where nobody leaves or is late, else by real custodians.
    """

    study: PathText
    records: tuple[PathText, ...] = Field(min_length=1, strict=False)
    axes: Axes = Axes()
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(
        (0, 1, 2), min_length=1, strict=False
    )
    beside: tuple[Literal["alone", "at_home", "pooled"], ...] = Field(
        ("alone", "at_home", "pooled"), strict=False
    )
    engine: Engine = Field(Engine.CUSTODIANS, strict=False)

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("expected different seeds, found one twice")
        return seeds

    @model_validator(mode="after")
    def _can_be_carried_out(self) -> Self:
        named = [name for name in FAULTS if any(getattr(self.axes, name))]
        if self.engine is Engine.SUMS and named:
            raise ValueError(
                f"engine: expected custodians or ray with {' and '.join(named)} above 0, found "
                "sums: it adds sums up without messages, so nobody in it leaves or is late"
            )
        return self

    def measures(self, learner: Learner) -> bool:
        """Tell whether a learner's models are measured."""
        return learner is Learner.FEDERATED or learner.value in self.beside

    def within(self, folder: Path) -> "SweepPlan":
        """Return the plan with the paths of a folder's file as they are seen from here."""
        return self.model_copy(
            update={
                "study": str(folder / self.study),
                "records": tuple(_within(folder, text) for text in self.records),
            }
        )


def _within(folder: Path, text: str) -> str:
    name, sign, path = text.partition("=")
    if not sign or (folder / text).exists():  # a path may hold "="
        return str(folder / text)
    return f"{name}={folder / path}"


def load_sweep(path: Path) -> SweepPlan:
    """Read a sweep's file.

    Raises:
        StudyError: unreadable, or any mistake inside, one line each.
    """
    return load_toml(path, SweepPlan).within(path.parent)


def sweep_of(study: str, records: Sequence[str], **given: Any) -> SweepPlan:
    """Return a sweep from keywords: those of `SweepPlan`, and an axis under its own name.

    Raises:
        UsageError: an unknown keyword, or any mistake in a value, one line each.
    """
    axes = {name: given.pop(name) for name in AXES if name in given}
    data = {"study": study, "records": tuple(records), "axes": axes, **given}
    try:
        return SweepPlan.model_validate(data)
    except ValidationError as error:
        raise UsageError("\n".join(problem_lines(error))) from None
