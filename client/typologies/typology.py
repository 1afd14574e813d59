"""One indicator: its meaning, its source, its look-alikes and its computation."""

import re
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.typologies.family import Family
from fieldfare.shared.features.features import Dependence, NumericFeature, Scale
from fieldfare.shared.harm_rules import is_protected

Id = Annotated[str, Field(pattern=r"^[A-Z]{1,4}\d{2,3}$")]
Line = Annotated[str, Field(min_length=8, max_length=600)]
Column = Annotated[str, Field(pattern=r"^(transactions|accounts|customers)\.[a-z_]+$")]
_FEATURE: Final = re.compile(r"[A-Z]{1,4}\d{2,3}(_[a-z0-9_]+)?")


class Status(StrEnum):
    """Where an indicator stands in its life."""

    DRAFT = "draft"
    ADOPTED = "adopted"
    RETIRED = "retired"


class AbsenceMeaning(StrEnum):
    """The meaning of a customer without a row in an indicator's query."""

    ZERO = "zero"  # it did not happen
    MISSING = "missing"  # a share of nothing is no share


class _Declaration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Publication(_Declaration):
    """Where an indicator was published.

    Attributes:
        ref: a short name, such as FIN-2020-A008.
        says: its content, in short.
        seen: whether the text itself was read, or a summary of it.
    """

    ref: Annotated[str, Field(min_length=2, max_length=60)]
    says: Line
    seen: Literal["text", "summary"]


class FeatureSpec(_Declaration):
    """One number of an indicator, and its public bounds and knots for the model.

    Attributes:
        name: the column; the first feature of an indicator bears its id alone.
        meaning: in words, with its unit.
        absent: the meaning of a missing row in the query.
    """

    name: Annotated[str, Field(max_length=64)]
    meaning: Annotated[str, Field(min_length=4, max_length=200)]
    absent: AbsenceMeaning
    lower: float
    upper: float
    scale: Scale = Scale.LINEAR
    knots: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _can_be_learned_from(self) -> Self:
        if not _FEATURE.fullmatch(self.name):
            raise ValueError("expected a name such as R01 or R01_once_share")
        self._on_knots(self.name.removesuffix("_linked"), Dependence.OWN)
        return self

    def numeric(self, tag: Dependence) -> NumericFeature:
        """Return a study's declaration of this feature; a linked form has none.

        Raises:
            ValidationError: a linked form.
        """
        return self._on_knots(self.name, tag)

    def _on_knots(self, name: str, tag: Dependence) -> NumericFeature:
        return NumericFeature(
            kind="numeric", name=name, tag=tag, lower=self.lower, upper=self.upper,
            scale=self.scale, knots=self.knots,
        )  # fmt: skip


class HitRule(_Declaration):
    """When the indicator counts as a hit. The cut-off is our choice, no regulator's.

    Attributes:
        at_least: of the first feature.
    """

    at_least: float


class LinkedForm(_Declaration):
    """The form that looks at other customers too: for local scoring only, it never leaves."""

    required: tuple[Column, ...]
    formula: Line
    features: Annotated[tuple[FeatureSpec, ...], Field(min_length=1)]


class Typology(_Declaration):
    """One versioned indicator.

    Attributes:
        tag: `own` reads the customer's own records alone; `peer` compares with a public
            constant; `linked` looks at other customers and never leaves.
        required: columns without which it is missing.
        window_days: the days before the as-of date that are looked at.
        formula: in words.
        parameters: the query's constants, our choices; amounts in minor units.
        benign: other explanations of it; shown beside every hit.
        linked: the usual form, where that one is not `own`.
    """

    id: Id
    version: Annotated[int, Field(ge=1)]
    title: Annotated[str, Field(min_length=8, max_length=90)]
    status: Status
    family: Family
    tag: Dependence
    sources: Annotated[tuple[Publication, ...], Field(min_length=1)]
    required: tuple[Column, ...]
    window_days: Annotated[int, Field(ge=1, le=270)]
    formula: Line
    parameters: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], int | float] = {}
    features: Annotated[tuple[FeatureSpec, ...], Field(min_length=1, max_length=4)]
    fires: HitRule
    benign: Annotated[tuple[Line, ...], Field(min_length=1)]
    note: Line | None = None
    linked: LinkedForm | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [*self._column_problems(), *self._feature_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _column_problems(self) -> list[str]:
        wanted = (*self.required, *(self.linked.required if self.linked else ()))
        problems = [f"required: no canonical record has {column}" for column in wanted
                    if not _exists(column)]  # fmt: skip
        problems += [
            f"required: {column} is for the fairness audit only (harm rule 4)"
            for column in wanted
            if is_protected(column.partition(".")[2])
        ]
        return problems

    def _feature_problems(self) -> list[str]:
        names = [spec.name for spec in self.features]
        linked = [spec.name for spec in self.linked.features] if self.linked else []
        problems = []
        if names[0] != self.id:
            problems.append(f"features: expected the first named {self.id}")
        if any(not name.startswith(f"{self.id}_") for name in (*names[1:], *linked)):
            problems.append(f"features: expected names that begin with {self.id}_")
        if any(not name.endswith("_linked") for name in linked):
            problems.append("linked: expected names that end in _linked")
        if self.tag is Dependence.LINKED:
            problems.append("tag: expected own or peer; the linked form has a section of its own")
        if len({*names, *linked}) != len(names) + len(linked):
            problems.append("features: expected different names")
        return problems


def _exists(column: str) -> bool:
    table, _, name = column.partition(".")
    return name in TABLES[table].model_fields
