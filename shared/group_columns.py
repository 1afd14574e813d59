"""Columns by which a study says how its alerts fall on groups of people: public levels, no input.

docs/design.md, "The harm rules", rule 4: what people are stays in the institution, for fairness
audit only. This is that audit, and the one place in a study where a protected attribute may be
named. Only counts of units by level leave, in one bounded, noised sum; no unit's level does.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fieldfare.shared.features import Name

MAX_GROUP_COLUMNS: Final = 4  # each halves what the others can tell
MAX_GROUP_LEVELS: Final = 64
REST: Final = "other or unknown"


class GroupColumn(BaseModel):
    """One grouping: every unit is in exactly one of its levels, or in the rest.

    Attributes:
        column: of the records; no feature, label, unit or column that questions may name.
        levels: public, in the order in which they are reported.
        rest: name of the level for units whose level is another one, or missing.
    """

    # Strict: a quoted number or `true` where a number belongs is a mistake, not a number.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    column: Name
    levels: tuple[str, ...] = Field(min_length=1, max_length=MAX_GROUP_LEVELS, strict=False)
    rest: str = Field(default=REST, min_length=1, max_length=128)

    @field_validator("levels")
    @classmethod
    def _distinct(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(levels)) != len(levels):
            raise ValueError("expected different levels")
        if any(level != level.strip() or not level for level in levels):
            raise ValueError("expected levels without spaces around them: values are trimmed")
        return levels

    @model_validator(mode="after")
    def _rest_apart(self) -> "GroupColumn":
        if self.rest in self.levels:
            raise ValueError(f"rest: expected a name that is no level, found {self.rest!r}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """What each cell is called: the levels, then the rest."""
        return (*self.levels, self.rest)
