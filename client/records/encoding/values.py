"""Text that stands for the same thing: `1`, `1.0` and `true`; levels and labels use it."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fieldfare.shared.features.basis import MISSING_CODE
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature

_COMPARISON: Final = re.compile(r"(>=|<=|==|>|<)\s*(\S+)")
_COMPARATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    "==": lambda value, bound: value == bound,
}


def number(text: str) -> float | None:
    """Return the finite number that `text` stands for (true is 1, false is 0), or None."""
    truth = {"true": 1.0, "false": 0.0}.get(text.casefold())
    if truth is not None:
        return truth
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def comparable(text: str) -> float | str:
    """Return the common form of texts for one value: the number, or the text itself."""
    value = number(text)
    return text if value is None else value


@dataclass(frozen=True)
class LabelRule:
    """Which labels are positive: a comparison such as `> 0`, or one exact value."""

    comparator: str | None
    bound: float
    value: float | str

    @classmethod
    def parse(cls, positive: str) -> "LabelRule":
        """Read a study's `records.positive`; `>50K` is a value, because 50K is no number."""
        found = _COMPARISON.fullmatch(positive.strip())
        bound = number(found[2]) if found else None
        if found is None or bound is None:
            return cls(None, 0.0, comparable(positive.strip()))
        return cls(found[1], bound, "")

    def label_of(self, text: str) -> int | None:
        """Return 1 or 0 for a trimmed label; None where a comparison meets no number."""
        if self.comparator is None:
            return int(comparable(text) == self.value)
        value = number(text)
        return None if value is None else int(_COMPARATORS[self.comparator](value, self.bound))

    def foresees(self, text: str) -> bool:
        """Tell whether a trimmed label is one that the rule means: where 1 is positive, 0 or 1.

        Another one is negative all the same, but `Y` under a rule for `1` is a mistake.
        """
        if self.comparator is not None or self.value != 1.0:
            return True
        return comparable(text) in {0.0, 1.0}


@dataclass(frozen=True)
class LevelCodes:
    """A category's codes: the level's index, `MISSING_CODE`, or `len(levels)` for other."""

    exact: dict[str, int]
    equal: dict[float | str, int]
    missing: frozenset[str]

    @classmethod
    def of(
        cls, feature: CategoricalFeature | NumericFeature, missing: tuple[str, ...]
    ) -> "LevelCodes":
        """Prepare the codes of `feature` under the study's `missing` tokens."""
        equal: dict[float | str, int] = {}
        for index, level in enumerate(feature.levels):
            equal.setdefault(comparable(level), index)
        exact = {level: index for index, level in enumerate(feature.levels)}
        return cls(exact, equal, frozenset(("", *missing)))

    def code_of(self, text: str | None) -> int:
        """Return the code of one trimmed value; nothing but the value decides it."""
        if text is None or text in self.missing:
            return MISSING_CODE
        if text in self.exact:
            return self.exact[text]
        return self.equal.get(comparable(text), len(self.exact))
