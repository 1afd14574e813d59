"""Columns that questions may name besides features: months, lists, open texts, institutions.

Declared in the study, public like everything there. They are read for questions alone: no
model sees them. Harm rule 4 holds for them as for features.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fieldfare.shared.features.features import (
    MAX_LEVELS,
    CategoricalFeature,
    Feature,
    Name,
    NumericFeature,
    Value,
)
from fieldfare.shared.harm_rules import is_protected

MAX_MONTHS: Final = 240
MAX_TEXT: Final = 10  # characters of an open text: six bits each, one word of 64 bits
LEAST_GROUP: Final = 3  # institutions behind one level: fewer would be singled out
OTHER: Final = "other"
MISSING: Final = "missing"
_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")

Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class _Declaration(BaseModel):
    # Strict: a quoted number or `true` where a number belongs is a mistake, not a number.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    name: Name

    @field_validator("name")
    @classmethod
    def _may_be_asked_about(cls, name: str) -> str:
        if is_protected(name):
            raise ValueError(
                f"expected a column that harm rule 4 allows, found {name!r}, a protected "
                "attribute: it stays in the institution; remove it here"
            )
        return name


class MonthColumn(_Declaration):
    """The month of a date; with `several`, a text that lists months, such as 2025-01;2025-03."""

    kind: Literal["month"]
    first: Month
    last: Month
    several: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"expected first <= last, found {self.first} and {self.last}")
        if len(self.levels) > MAX_MONTHS:
            raise ValueError(f"expected at most {MAX_MONTHS} months, found {len(self.levels)}")
        return self

    @property
    def levels(self) -> tuple[str, ...]:
        """Every month from first to last."""
        first, last = _month_number(self.first), _month_number(self.last)
        return tuple(f"{m // 12:04d}-{m % 12 + 1:02d}" for m in range(first, last + 1))


class SeveralColumn(_Declaration):
    """A text that lists some of the declared levels, such as `cash;wire`."""

    kind: Literal["several"]
    levels: tuple[Value, ...] = Field(min_length=1, max_length=MAX_LEVELS, strict=False)

    @field_validator("levels")
    @classmethod
    def _distinct(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(levels)) != len(levels):
            raise ValueError("expected different levels")
        if any(level != level.strip() or ";" in level for level in levels):
            raise ValueError("expected levels without semicolons, and no spaces around them")
        return levels


class OpenColumn(_Declaration):
    """A short text over no declared domain: only `heavy_hitters` may ask about it.

    Read as capital letters and digits; any other character is `_`, and a longer value is cut.
    """

    kind: Literal["open"]
    length: int = Field(default=8, ge=1, le=MAX_TEXT)


class InstitutionColumn(_Declaration):
    """A public fact about institutions, such as their size band; no record is read for it."""

    kind: Literal["institution"]
    groups: dict[Name, tuple[str, ...]] = Field(strict=False)

    @field_validator("groups", mode="before")
    @classmethod
    def _tuples(cls, groups: object) -> object:
        if isinstance(groups, dict):
            return {k: tuple(v) if isinstance(v, list) else v for k, v in groups.items()}
        return groups

    @field_validator("groups")
    @classmethod
    def _apart(cls, groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        named = [institution for group in groups.values() for institution in group]
        if not groups or len(groups) > MAX_LEVELS:
            raise ValueError(f"expected 1 to {MAX_LEVELS} groups, found {len(groups)}")
        if len(set(named)) != len(named):
            raise ValueError("expected each institution in one group, found one twice")
        small = [name for name, group in groups.items() if len(group) < LEAST_GROUP]
        if small:
            raise ValueError(
                f"expected at least {LEAST_GROUP} institutions in each group, found fewer in "
                f"{small[0]!r}: an answer must not be one institution's; merge groups"
            )
        return groups

    @property
    def levels(self) -> tuple[str, ...]:
        """The groups' names."""
        return tuple(self.groups)

    def code_of(self, institution: str) -> int:
        """Return the index of an institution's group, or the number of groups where none is."""
        for index, group in enumerate(self.groups.values()):
            if institution in group:
                return index
        return len(self.groups)

    def thin_groups(self, institutions: Iterable[str]) -> tuple[str, ...]:
        """Return the groups, `other` included, of which some but too few institutions are here."""
        present = Counter(self.code_of(institution) for institution in institutions)
        names = (*self.levels, OTHER)
        return tuple(name for code, name in enumerate(names) if 0 < present[code] < LEAST_GROUP)


class LabelColumn(_Declaration):
    """The study's own label: 0 or 1. Never declared; it is there in every study."""

    kind: Literal["label"] = "label"

    @property
    def levels(self) -> tuple[str, ...]:
        """Negative, positive."""
        return ("0", "1")


Column = Annotated[
    MonthColumn
    | SeveralColumn
    | OpenColumn
    | InstitutionColumn
    | CategoricalFeature
    | NumericFeature,
    Field(discriminator="kind"),
]
Asked = (
    MonthColumn
    | SeveralColumn
    | OpenColumn
    | InstitutionColumn
    | LabelColumn
    | CategoricalFeature
    | NumericFeature
)
Columns = Mapping[str, Asked]


def columns_by_name(
    features: Sequence[Feature], columns: Sequence[Asked], label: str
) -> dict[str, Asked]:
    """Return everything that a question may name: features, columns and the label."""
    named: dict[str, Asked] = {feature.name: feature for feature in features}
    named |= {column.name: column for column in columns}
    # A label may be called anything: the check of names is for what is declared.
    return named | {label: LabelColumn.model_construct(name=label, kind="label")}


def holds_several(column: Asked) -> bool:
    """Tell whether one unit may be in several cells of a column."""
    return isinstance(column, SeveralColumn) or (isinstance(column, MonthColumn) and column.several)


def _month_number(month: str) -> int:
    found = _MONTH.fullmatch(month)
    if found is None:
        raise ValueError(f"expected a month such as 2025-01, found {month!r}")
    return int(found[1]) * 12 + int(found[2]) - 1
