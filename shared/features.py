"""Feature declarations: the public constants that turn a record into a basis.

Everything here is public: bounds, knots and levels are domain knowledge or were
released through the door (design section 3), never read off private records.
"""

import math
import re
from enum import Enum
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_KNOTS: Final = 8
MAX_KNOTS: Final = 12  # more cost accuracy at epsilon 1 (design section 3)
MAX_SPECIAL: Final = 8
MAX_LEVELS: Final = 512

Name = Annotated[str, Field(min_length=1, max_length=128)]

# Harm rule 4: these stay in the institution, for fairness audit only. Race, ethnicity
# and religion join the four that the rule names: they are no better as model inputs.
_PROTECTED_WORDS: Final = frozenset(
    [
        "nationality",
        "citizenship",
        "gender",
        "sex",
        "race",
        "ethnicity",
        "ethnic",
        "religion",
        "postcode",
        "zipcode",
        "zip",
        "postal",
        "dob",
        "birthdate",
        "birthplace",
    ]
)
_PROTECTED_NAMES: Final = frozenset(
    [
        "age",
        "age_years",
        "age_band",
        "age_group",
        "customer_age",
        "client_age",
        "person_age",
        "applicant_age",
        "native_country",
        "country_of_birth",
        "birth_country",
        "date_of_birth",
        "birth_date",
        "year_of_birth",
        "birth_year",
        "post_code",
        "home_country",
    ]
)


def is_protected(name: str) -> bool:
    """Tell whether harm rule 4 keeps a column of this name out of every model."""
    words = [w for w in re.split(r"[^a-z0-9]+", name.lower()) if w]
    return bool(_PROTECTED_WORDS.intersection(words)) or "_".join(words) in _PROTECTED_NAMES


class Dependence(Enum):
    """Whose records a feature's value may depend on (design section 2, "Unit")."""

    OWN = "own"  # only the unit's own partition
    PEER = "peer"  # own values against a constant that is public or was itself released
    LINKED = "linked"  # other units: refused in what leaves


class Scale(Enum):
    """The scale on which a numeric feature is interpolated."""

    LINEAR = "linear"
    LOG1P = "log1p"


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Name
    tag: Dependence = Dependence.OWN

    @model_validator(mode="after")
    def _may_leave(self) -> Self:
        if self.tag is Dependence.LINKED:
            raise ValueError(
                'tag "own" or "peer" expected, "linked" found: a linked feature may not leave '
                "without an enforced cap; restate it on the unit's own records"
            )
        if is_protected(self.name):
            raise ValueError(
                "a feature that harm rule 4 allows expected, a protected attribute found: "
                "keep it in the institution for fairness audit and remove it here"
            )
        return self


class NumericFeature(_Declared):
    """A number on a piecewise-linear (hat) basis over public knots.

    Slots, in order: one per knot, one per special value, one for missing.
    """

    kind: Literal["numeric"]
    lower: float
    upper: float
    scale: Scale = Scale.LINEAR
    knots: tuple[float, ...] = ()
    special: tuple[float, ...] = Field(default=(), max_length=MAX_SPECIAL)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.lower < self.upper:
            raise ValueError(f"lower < upper expected, {self.lower} and {self.upper} found")
        if self.scale is Scale.LOG1P and self.lower <= -1:
            raise ValueError(f'lower > -1 expected for scale "log1p", {self.lower} found')
        if not self.knots:
            object.__setattr__(self, "knots", self._even_knots())
        if not 2 <= len(self.knots) <= MAX_KNOTS:  # noqa: PLR2004 -- a hat needs two ends
            raise ValueError(f"2 to {MAX_KNOTS} knots expected, {len(self.knots)} found")
        if any(a >= b for a, b in zip(self.knots, self.knots[1:], strict=False)):
            raise ValueError("strictly increasing knots expected")
        if self.knots[0] < self.lower or self.knots[-1] > self.upper:
            raise ValueError("knots between lower and upper expected")
        if len(set(self.special)) != len(self.special):
            raise ValueError("different special values expected")
        return self

    def _even_knots(self) -> tuple[float, ...]:
        """Fill in the default: evenly spaced on the scale, ends included."""
        low, high = self.lower, self.upper
        if self.scale is Scale.LOG1P:
            low, high = math.log1p(low), math.log1p(high)
        inner = [low + (high - low) * i / (DEFAULT_KNOTS - 1) for i in range(1, DEFAULT_KNOTS - 1)]
        if self.scale is Scale.LOG1P:
            inner = [math.expm1(x) for x in inner]
        return (self.lower, *(float(f"{x:.6g}") for x in inner), self.upper)

    @property
    def slots(self) -> int:
        """Number of basis slots: knots, special values, missing."""
        return len(self.knots) + len(self.special) + 1

    @property
    def slot_names(self) -> tuple[str, ...]:
        """What each slot stands for, in order."""
        special = (f"= {value:g}" for value in self.special)
        return (*(f"at {knot:g}" for knot in self.knots), *special, "missing")


class CategoricalFeature(_Declared):
    """A category out of declared levels.

    Slots, in order: one per level, one for any other value, one for missing.
    """

    kind: Literal["categorical"]
    levels: tuple[str, ...] = Field(min_length=1, max_length=MAX_LEVELS)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.levels)) != len(self.levels):
            raise ValueError("different levels expected")
        if any(level != level.strip() for level in self.levels):
            raise ValueError("levels without spaces around them expected: values are trimmed")
        return self

    @property
    def slots(self) -> int:
        """Number of basis slots: levels, other, missing."""
        return len(self.levels) + 2

    @property
    def slot_names(self) -> tuple[str, ...]:
        """What each slot stands for, in order."""
        return (*(f"is {level}" for level in self.levels), "other", "missing")


Feature = Annotated[NumericFeature | CategoricalFeature, Field(discriminator="kind")]
