"""Feature declarations: the public constants that turn a record into a basis.

Everything here is public: bounds, knots and levels are domain knowledge or were
released through the door (docs/design.md, "Where knots go"), never read off private records.

Columns by which a study says how its alerts fall on groups of people: public levels, no input.

docs/design.md, "The harm rules", rule 4: what people are stays in the institution, for fairness
audit only. This is that audit, and the one place in a study where a protected attribute may be
named. Only counts of units by level leave, in one bounded, noised sum; no unit's level does.
"""

import math
from collections.abc import Sequence
from enum import Enum
from itertools import pairwise, starmap
from typing import Annotated, Any, Final, Literal, Protocol, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from fieldfare.shared.canonical import SHOWN
from fieldfare.shared.features.derived import DerivedColumn, Formula
from fieldfare.shared.harm_rules import age_remedy, is_protected

DEFAULT_KNOTS: Final = 8
ASKED_KNOTS: Final = 4  # at quantiles, and as many evenly: either alone loses the rest
MAX_KNOTS: Final = 12  # more cost accuracy at epsilon 1 (docs/design.md, "Where knots go")
MAX_SPECIAL: Final = 8
MAX_LEVELS: Final = 512
MAX_CURVES: Final = 8  # levels with a curve of their own: each is fitted to its share of the units
LEAST_GAP: Final = 1e-300  # between knots: 256 / gap stays finite
LEAST_STEP: Final = 2.0**-40  # of a knot's size: 256 steps to the next are different doubles

STEP_SLACK: Final = 1e-9  # relative: tenths are no binary fractions
MAX_VALUE: Final = 256  # characters of one value that a study names: a code or a few words

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=SHOWN)]
Value = Annotated[str, Field(max_length=MAX_VALUE, pattern=SHOWN)]


class Dependence(Enum):
    """Whose records a feature's value may depend on (docs/design.md, "The unit")."""

    OWN = "own"  # only the unit's own partition
    PEER = "peer"  # own values against a constant that is public or was itself released
    LINKED = "linked"  # other units: refused in what leaves


_LINKED_NAME: Final = "_linked"


def names_linked(name: str) -> bool:
    """Tell whether a column's name says that it looks at other units, as linked forms do."""
    return name.strip().casefold().endswith(_LINKED_NAME)


class Scale(Enum):
    """The scale on which a numeric feature is interpolated."""

    LINEAR = "linear"
    LOG1P = "log1p"


class _Declaration(BaseModel):
    # Strict: a quoted number or `true` where a number belongs is a mistake, not a number.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    name: Name
    tag: Dependence = Field(default=Dependence.OWN, strict=False)

    # On the fields themselves, so that these are said also where something else is wrong.
    @field_validator("tag")
    @classmethod
    def _may_leave(cls, tag: Dependence) -> Dependence:
        if tag is Dependence.LINKED:
            raise ValueError(
                'expected "own" or "peer", found "linked": a linked feature may not leave without '
                "an enforced cap; restate it on the unit's own records"
            )
        return tag

    @field_validator("name")
    @classmethod
    def _may_be_learned_from(cls, name: str) -> str:
        return _learnable(name)


def _learnable(name: str) -> str:
    """Return the name of a feature, or of a column that one is computed from.

    Raises:
        ValueError: a protected attribute (harm rule 4), or a linked column.
    """
    if is_protected(name):
        raise ValueError(
            f"expected a feature that harm rule 4 allows, found {name!r}, a protected "
            "attribute: keep it in the institution for fairness audit and remove it here"
            + age_remedy(name)
        )
    if names_linked(name):  # whatever the tag says
        raise ValueError(
            f"expected a feature of the unit's own records, found {name!r}, a linked one: it "
            "looks at other units and may not leave; restate it on the unit's own records"
        )
    return name


def _apart(left: float, right: float) -> bool:
    """Tell whether hats between two knots can be computed: slopes finite, steps resolved."""
    gap = right - left
    return math.isfinite(gap) and gap > max(LEAST_GAP, max(abs(left), abs(right)) * LEAST_STEP)


class NumericFeature(_Declaration):
    """A number on a piecewise-linear (hat) basis over public knots.

    Slots, in order: one per knot, one per special value, one for missing.

    With `knots_from`, knots follow from the private answer to that question of the study:
    `quantile_knots` at quantiles and `even_knots` evenly over the range (`knot_places`). `knots`
    then gives their number, and their places if no answer comes.

    With `step`, values are known in public to be `lower`, `lower + step` and so on: no two knots
    are nearer than that, whether listed, evenly spaced or asked for.

    With `derived`, no column of that name is read: the formula computes it from others of the row.

    With `by`, each of `levels` of that column has a curve of its own, and so have any other value
    and a missing one; the slots of the levels follow each other.

    With `direction`, every curve only rises, or only falls, from knot to knot (`direct_curves`).

    Formal Guarantees:
        A unit hits the slots of one curve only, those of its own level: its weights are those of
        the feature without `by`, at other places, so its norm and the bound C stay as they are.
    """

    kind: Literal["numeric"]
    derived: DerivedColumn | None = None
    lower: float
    upper: float
    scale: Scale = Field(default=Scale.LINEAR, strict=False)
    knots: tuple[float, ...] = Field(default=(), strict=False)
    knots_from: str | None = Field(default=None, min_length=1, max_length=64)
    quantile_knots: int = Field(default=0, ge=0, le=MAX_KNOTS)
    even_knots: int = Field(default=0, ge=0, le=MAX_KNOTS)
    step: float | None = Field(default=None, gt=0)
    special: tuple[float, ...] = Field(default=(), max_length=MAX_SPECIAL, strict=False)
    by: Name | None = None
    levels: tuple[Value, ...] = Field(default=(), max_length=MAX_CURVES, strict=False)
    direction: Literal["rising", "falling"] | None = None

    @field_validator("by")
    @classmethod
    def _by_may_be_learned_from(cls, by: str | None) -> str | None:
        return None if by is None else _learnable(by)

    @field_validator("derived")
    @classmethod
    def _sources_may_be_learned_from(cls, derived: Formula | None) -> Formula | None:
        for name in derived.sources if derived else ():
            _learnable(name)  # what a column may not be, nothing computed from it may
        return derived

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        problems = self._bound_problems()
        problems += self._asked_problems() if not problems else []
        if not problems and not self.knots:
            object.__setattr__(self, "knots", self._even_knots(self._count))
            if self.step is not None and self.knots_from is None:
                object.__setattr__(self, "knots", self._on_steps(self.knots, self.step))
        if not problems:
            problems += self._knot_problems()
        if len(set(self.special)) != len(self.special):
            problems.append("special: expected different values")
        problems += self._by_problems()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _by_problems(self) -> list[str]:
        problems = []
        if (self.by is None) != (not self.levels):
            problems.append("levels: expected beside by, and nowhere else, found one of them")
        if self.by is not None and self.knots_from is not None:
            problems.append("by: expected no knots_from beside it, found some")
        if self.by in {self.name, *(self.derived.sources if self.derived else ())}:
            problems.append(f"by: expected another column, found {self.by!r} again")
        if len(set(self.levels)) != len(self.levels):
            problems.append("levels: expected different levels")
        if any(level != level.strip() or not level for level in self.levels):
            problems.append("levels: expected texts without spaces around them: values are trimmed")
        return problems

    def _bound_problems(self) -> list[str]:
        problems = []
        if not self.lower < self.upper:
            problems.append(f"expected lower < upper, found {self.lower} and {self.upper}")
        if self.scale is Scale.LOG1P and self.lower <= -1:
            problems.append(f'expected lower > -1 for scale "log1p", found {self.lower}')
        return problems

    def _asked_problems(self) -> list[str]:
        """Fill in how many knots are asked for, and say what does not fit."""
        if self.knots_from is None:
            asked = self.quantile_knots or self.even_knots
            return ["quantile_knots and even_knots: expected only with knots_from"] * bool(asked)
        for name in ("quantile_knots", "even_knots"):
            object.__setattr__(self, name, getattr(self, name) or ASKED_KNOTS)
        if self.even_knots < 2 or self._count > MAX_KNOTS:  # noqa: PLR2004 -- both ends
            found = f"{self.even_knots} and {self.quantile_knots} found"
            least = f"expected at least 2, and with quantile_knots at most {MAX_KNOTS}"
            return [f"even_knots: {least}, {found}"]
        if self.knots not in ((), self._even_knots(self._count)):
            return ["knots: expected none beside knots_from: they follow from the answer"]
        return []

    @property
    def _count(self) -> int:
        """How many knots there are where none are listed."""
        return DEFAULT_KNOTS if self.knots_from is None else self.quantile_knots + self.even_knots

    @model_serializer(mode="wrap")
    def _as_it_was(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what a feature without asked knots or formula did not have: ids stay."""
        absent = {one for one in ("derived", "step", "direction") if getattr(self, one) is None}
        absent |= {"by", "levels"} if self.by is None else set()
        absent |= (
            {"knots_from", "quantile_knots", "even_knots"} if self.knots_from is None else set()
        )
        return {name: value for name, value in handler(self).items() if name not in absent}

    def _knot_problems(self) -> list[str]:
        problems = []
        if not 2 <= len(self.knots) <= MAX_KNOTS:  # noqa: PLR2004 -- a hat needs two ends
            problems.append(f"knots: expected 2 to {MAX_KNOTS}, found {len(self.knots)}")
        if any(a >= b for a, b in pairwise(self.knots)):
            problems.append("knots: expected strictly increasing values")
        elif self.knots[0] < self.lower or self.knots[-1] > self.upper:
            problems.append(f"knots: expected between lower and upper, found {self.knots}")
        elif not all(starmap(_apart, pairwise(map(self._scaled, self.knots)))):
            problems.append("knots: too close together or too far apart to interpolate between")
        return problems + (self._step_problems(self.step) if self.step is not None else [])

    def _step_problems(self, step: float) -> list[str]:
        """Say where knots would be nearer than the data's resolution."""
        values = math.floor((self.upper - self.lower) / step * (1 + STEP_SLACK)) + 1
        if values < len(self.knots):
            found = f"found {values} values: ask for fewer knots, or list what matters as special"
            return [f"step: expected room for {len(self.knots)} knots within bounds, {found}"]
        near = step * (1 - STEP_SLACK)
        if self.knots_from is None and any(b - a < near for a, b in pairwise(self.knots)):
            return [f"knots: expected at least step = {step:g} between two, found some nearer"]
        return []

    def _on_steps(self, knots: tuple[float, ...], step: float) -> tuple[float, ...]:
        """Move even knots to values that occur, and merge those that meet."""
        counts = sorted({round((knot - self.lower) / step) for knot in knots})
        values = (float(f"{self.lower + count * step:.12g}") for count in counts)
        return tuple(value for value in values if value <= self.upper)

    def _scaled(self, value: float) -> float:
        return math.log1p(value) if self.scale is Scale.LOG1P else value

    def _even_knots(self, count: int) -> tuple[float, ...]:
        """Fill in the default: evenly spaced on the scale, ends included."""
        low, high = self._scaled(self.lower), self._scaled(self.upper)
        inner = [low + (high - low) * i / (count - 1) for i in range(1, count - 1)]
        if self.scale is Scale.LOG1P:
            inner = [math.expm1(x) for x in inner]
        # Few digits, so that the study's hash is the same on every machine's logarithm.
        for digits in (6, 12):
            short = (self.lower, *(float(f"{x:.{digits}g}") for x in inner), self.upper)
            if all(a < b for a, b in pairwise(short)):
                break
        return short

    @property
    def slots(self) -> int:
        """Number of basis slots: knots, special values, missing; of every curve."""
        return len(self.curves) * (len(self.knots) + len(self.special) + 1)

    @property
    def curves(self) -> tuple[str, ...]:
        """Whose the curves are: the levels, other, missing; one that has no name without `by`."""
        return (*self.levels, "other", "missing") if self.by is not None else ("",)

    @property
    def curve_names(self) -> tuple[str, ...]:
        """The meaning of each slot of one curve, in order."""
        special = (f"= {value:g}" for value in self.special)
        return (*(f"at {knot:g}" for knot in self.knots), *special, "missing")

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The meaning of each slot, in order."""
        if self.by is None:
            return self.curve_names
        return tuple(f"{curve}: {name}" for curve in self.curves for name in self.curve_names)


def _check_levels(levels: tuple[str, ...], least: int = 1) -> tuple[str, ...]:
    """Return levels that differ and have no spaces around them, of `least` characters each."""
    if len(set(levels)) != len(levels):
        raise ValueError("expected different levels")
    if any(level != level.strip() or len(level) < least for level in levels):
        raise ValueError("expected levels without spaces around them: values are trimmed")
    return levels


class CategoricalFeature(_Declaration):
    """A category out of declared levels.

    Slots, in order: one per level, one for any other value, one for missing.
    """

    kind: Literal["categorical"]
    levels: tuple[Value, ...] = Field(min_length=1, max_length=MAX_LEVELS, strict=False)

    @field_validator("levels")
    @classmethod
    def _distinct(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        return _check_levels(levels, least=0)

    @property
    def slots(self) -> int:
        """Number of basis slots: levels, other, missing."""
        return len(self.levels) + 2

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The meaning of each slot, in order."""
        return (*(f"is {level}" for level in self.levels), "other", "missing")


Feature = Annotated[NumericFeature | CategoricalFeature, Field(discriminator="kind")]


class NamedColumn(Protocol):
    """A feature, or a column that questions name."""

    @property
    def name(self) -> str:
        """As the study says it."""


def formula_of(declared: object) -> Formula | None:
    """Return how a feature, or a column that questions name, is computed; None: it is read."""
    return declared.derived if isinstance(declared, NumericFeature) else None


def by_of(declared: object) -> str | None:
    """Return the column whose levels have curves of their own; None: there is one curve."""
    return declared.by if isinstance(declared, NumericFeature) else None


def computed_words(declared: object) -> str:
    """Return a formula in plain words; empty where a column is read."""
    formula, by = formula_of(declared), by_of(declared)
    words = [] if formula is None else [formula.words]
    return "; ".join(words if by is None else [*words, f"a curve for each level of {by}"])


def columns_behind(declared: Sequence[NamedColumn]) -> tuple[str, ...]:
    """Return the columns of records behind features or asked columns, each once, in order.

    Of a computed one its sources: whatever holds for a column that is read (policy, bans, tags,
    harm rules) holds for what is computed from it.
    """
    found: dict[str, None] = {}
    for one in declared:
        formula, by = formula_of(one), by_of(one)
        found |= dict.fromkeys((one.name,) if formula is None else formula.sources)
        found |= {} if by is None else {by: None}
    return tuple(found)


# -- group columns --------------------------------------------------------------------------------

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
    levels: tuple[Value, ...] = Field(min_length=1, max_length=MAX_GROUP_LEVELS, strict=False)
    rest: Name = REST

    @field_validator("levels")
    @classmethod
    def _distinct(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        return _check_levels(levels)

    @model_validator(mode="after")
    def _rest_apart(self) -> "GroupColumn":
        if self.rest in self.levels:
            raise ValueError(f"rest: expected a name that is no level, found {self.rest!r}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each cell: the levels, then the rest."""
        return (*self.levels, self.rest)
