"""Columns that are computed: public formulas out of a closed list, over a row's own columns.

A study says the formula, so it is signed with it; a reader of records (training, questions,
evaluation, scoring, simulations) computes here and nowhere else. A formula sees one row, no clock
and no other unit, so a derived column is as `own` as its sources (docs/design.md, "The unit").
"""

from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fieldfare.shared.canonical import SHOWN
from fieldfare.shared.features.arithmetic import Numbers, arc, natural_log, sine

DAY: Final = 86_400_000_000.0  # microseconds
MICROSECONDS: Final = {"hours": DAY / 24, "days": DAY}
EARTH_KM: Final = 6371.0088  # mean radius (IUGG 1980; Moritz 2000, table 1)
POLE: Final = 90.0  # degrees
TURN: Final = 360.0
_NO_COLUMNS: Final = frozenset({"formula", "unit"})

Source = Annotated[str, Field(min_length=1, max_length=128, pattern=SHOWN)]


class _Formula(BaseModel):
    """A formula; every key but `formula` and `unit` names a column of the same row.

    Attributes:
        of_times: whether its columns are dates and times; numbers otherwise.
    """

    # Strict: a quoted number or `true` where a number belongs is a mistake, not a number.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)
    of_times: ClassVar[bool] = False

    @model_validator(mode="after")
    def _of_different_columns(self) -> Self:
        if len({name.casefold() for name in self.sources}) < len(self.sources):
            raise ValueError(f"expected different columns, found {', '.join(self.sources)}")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns that it reads, by the study's names, in the order of `_computed`."""
        names = (name for name in type(self).model_fields if name not in _NO_COLUMNS)
        return tuple(getattr(self, name) for name in names)

    @property
    def words(self) -> str:
        """The formula in plain words, with its columns."""
        raise NotImplementedError

    def values(self, *columns: Numbers) -> Numbers:
        """Compute the column, each unit by itself.

        Args:
            columns: float64 (units,) each, in the order of `sources`; NaN is missing. Times are
                in microseconds since 1970, UTC.

        Returns:
            float64 (units,), NaN where missing: the same bits on every machine, for it takes
            + - * / and square roots alone (IEEE 754), exact splits, and whole numbers.

        *Formal Guarantees.* A unit's value depends on its own row and the study alone. It never
        raises for a value. What it reads counts as in any feature: the unit's vector is bounded
        whatever the value, so no sensitivity changes.

        *Edge cases.*
            | row | value |
            |---|---|
            | a column is missing, or infinite | missing |
            | the divisor is 0, also 0 / 0 | missing |
            | the logarithm of 0 or less | missing |
            | `elapsed`: the end before the start | negative; below `lower` it counts as `lower` |
            | `age`: opened after the day that it is counted to | missing: it has no age yet |
            | a latitude beyond 90 degrees, a longitude beyond 360 | missing |
            | the result is beyond float64 | missing |
            | the result is below float64's smallest number | 0 |
        """
        with np.errstate(all="ignore"):
            found = self._computed(*(np.asarray(one, dtype=np.float64) for one in columns))
        return np.where(np.isfinite(found), found, np.nan)

    def _computed(self, *columns: Numbers) -> Numbers:
        raise NotImplementedError


class ElapsedTime(_Formula):
    """How long from one time to another; negative where the second is the earlier one."""

    formula: Literal["elapsed"]
    start: Source
    end: Source
    unit: Literal["days", "hours"] = "days"
    of_times: ClassVar[bool] = True

    @property
    def words(self) -> str:
        """The formula in plain words, with its columns."""
        return f"{self.unit} from {self.start} to {self.end}"

    def _computed(self, *columns: Numbers) -> Numbers:
        start, end = columns
        return (end - start) / MICROSECONDS[self.unit]


class ThingAge(_Formula):
    """Whole days from the date on which an account was opened to another date of the row."""

    formula: Literal["age"]
    since: Source
    on: Source
    of_times: ClassVar[bool] = True

    @property
    def words(self) -> str:
        """The formula in plain words, with its columns."""
        return f"whole days from {self.since} to {self.on}"

    def _computed(self, *columns: Numbers) -> Numbers:
        since, on = (np.floor_divide(one, DAY) for one in columns)
        return np.where(on >= since, on - since, np.nan)


class Logarithm(_Formula):
    """The natural logarithm of a positive number."""

    formula: Literal["log"]
    of: Source

    @property
    def words(self) -> str:
        """The formula in plain words, with its columns."""
        return f"natural logarithm of {self.of}"

    def _computed(self, *columns: Numbers) -> Numbers:
        (numbers,) = columns
        fits = (numbers > 0) & np.isfinite(numbers)
        return np.where(fits, natural_log(np.where(fits, numbers, 1.0)), np.nan)


class Quotient(_Formula):
    """One number divided by another."""

    formula: Literal["ratio"]
    of: Source
    to: Source

    @property
    def words(self) -> str:
        """The formula in plain words, with its columns."""
        return f"{self.of} divided by {self.to}"

    def _computed(self, *columns: Numbers) -> Numbers:
        of, to = columns
        fits = (to != 0) & np.isfinite(to)
        return np.where(fits, of / np.where(fits, to, 1.0), np.nan)


class Distance(_Formula):
    """Kilometres along the surface between two positions, in degrees."""

    formula: Literal["distance"]
    latitude: Source
    longitude: Source
    other_latitude: Source
    other_longitude: Source

    @property
    def words(self) -> str:
        """The formula in plain words, with its columns."""
        here = f"({self.latitude}, {self.longitude})"
        return f"kilometres from {here} to ({self.other_latitude}, {self.other_longitude})"

    def _computed(self, *columns: Numbers) -> Numbers:
        """Use the haversine (Sinnott 1984) on a sphere of the Earth's mean radius."""
        latitude, longitude, other_latitude, other_longitude = columns
        fits = _on_earth(latitude, longitude) & _on_earth(other_latitude, other_longitude)
        north, there = np.where(fits, latitude, 0.0), np.where(fits, other_latitude, 0.0)
        east = np.where(fits, other_longitude - longitude, 0.0)
        east = east - TURN * np.rint(east / TURN)
        across = sine((there - north) / 2)
        along = sine(east / 2)
        shrunk = sine(POLE - np.abs(north)) * sine(POLE - np.abs(there))
        haversine = np.minimum(across * across + shrunk * along * along, 1.0)
        return np.where(fits, EARTH_KM * arc(haversine), np.nan)


def _on_earth(latitude: Numbers, longitude: Numbers) -> NDArray[np.bool_]:
    return (np.abs(latitude) <= POLE) & (np.abs(longitude) <= TURN)


Formula = ElapsedTime | ThingAge | Logarithm | Quotient | Distance
DerivedColumn = Annotated[Formula, Field(discriminator="formula")]
