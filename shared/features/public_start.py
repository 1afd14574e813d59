"""A public start: curves that were learned without privacy where nobody had to be protected.

A start says for each of its features how much every slot adds to a score. A study that starts there
learns one multiplier a feature under privacy, and the bias. The file is a safetensors file of one
tensor of small whole numbers; how it was made stands inside, so that anybody can make it again, and
the same start is the same bytes. A study holds it, and its SHA-256.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, Self

import numpy as np
import rfc8785
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import CategoricalFeature, Feature, NumericFeature
from fieldfare.shared.features.media_gate import media_in

START_FORMAT: Final = 1
CURVE_BITS: Final = 8  # curves are multiples of 2^-8
CURVE_STEPS: Final = 1 << CURVE_BITS
LARGEST_CURVE: Final = 8  # log-odds that one slot adds at most, either way
MOST_START_BYTES: Final = 512 * 1024
MOST_SLOTS: Final = 1 << 16
NAME_PATTERN: Final = r"^public:[a-z0-9][a-z0-9-]{0,62}$"
_LENGTH_BYTES: Final = 8  # of a safetensors file: the length of its header, little-endian
_ALIGNMENT: Final = 8
_TENSOR: Final = "curves"


class StartFacts(BaseModel):
    """What a start's file says of itself.

    Attributes:
        generator: what made it, with its version.
        seed: of all its chance.
        settings: everything else that it was made from, so that it can be made again.
        features: the declarations that the curves are of, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = START_FORMAT
    generator: str = Field(min_length=1, max_length=200)
    seed: int = Field(ge=0, lt=2**53)
    settings: dict[str, str | int | float] = Field(max_length=32)
    features: tuple[Feature, ...] = Field(min_length=1, max_length=1000)


@dataclass(frozen=True, eq=False)
class PublicStart:
    """Curves of an additive model, and how they were made.

    Attributes:
        facts: what the file says of itself.
        values: int16 (1 + slots,), in units of 2^-8 log-odds: what is added to the public
            log-odds, then every feature's slots in order.
    """

    facts: StartFacts
    values: NDArray[np.int16]

    @property
    def hash(self) -> str:
        """SHA-256 of the file, hex."""
        return bytes_hash(self.to_bytes())

    @property
    def offset(self) -> float:
        """Log-odds that the start adds to those of the study's public prevalence."""
        return float(self.values[0]) / CURVE_STEPS

    def to_bytes(self) -> bytes:
        """Return the safetensors file; the same start, the same bytes."""
        said = rfc8785.dumps(self.facts.model_dump(mode="json")).decode()
        count = len(self.values)
        tensor = {"dtype": "I16", "shape": [count], "data_offsets": [0, 2 * count]}
        header: dict[str, Any] = {"__metadata__": {"start": said}, _TENSOR: tensor}
        text = rfc8785.dumps(header)
        text += b" " * (-len(text) % _ALIGNMENT)
        values = self.values.astype("<i2").tobytes()
        return len(text).to_bytes(_LENGTH_BYTES, "little") + text + values

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Parse a file: only the bytes that `to_bytes` writes are one.

        Raises:
            StudyError: too large, no start, another number of curves, or one beyond its bound.
        """
        if len(content) > MOST_START_BYTES:
            raise StudyError(f"expected a start of at most {MOST_START_BYTES} bytes, found more")
        end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
        try:
            said = json.loads(content[_LENGTH_BYTES:end])["__metadata__"]["start"]
            facts = StartFacts.model_validate_json(said)
            start = cls(facts, np.frombuffer(content[end:], "<i2").astype(np.int16))
            same = start.to_bytes() == content
        except (ValidationError, ValueError, KeyError, TypeError, RecursionError):
            raise StudyError("expected a public start (safetensors), found other bytes") from None
        if not same:
            raise StudyError("expected the canonical bytes of a public start, found others")
        start.check()
        return start

    def check(self) -> None:
        """Check that there is one curve for each feature, and none beyond its bound.

        Raises:
            StudyError: otherwise; or words that no study may hold.
        """
        names = [one.name for one in self.facts.features]
        slots = 1 + sum(one.slots for one in self.facts.features)
        if len(set(names)) != len(names) or not len(self.values) == slots <= MOST_SLOTS:
            raise StudyError("expected one curve for each slot of different features in a start")
        if int(np.abs(self.values.astype(np.int64)).max()) > LARGEST_CURVE * CURVE_STEPS:
            raise StudyError(f"expected curves of a start within +-{LARGEST_CURVE}, found others")
        for path, problem in media_in(self.facts.model_dump(mode="json")):
            raise StudyError(f"{path} of a start: expected plain words, {problem} (harm rule 6)")

    def curves_for(self, features: tuple[Feature, ...]) -> tuple[NDArray[np.int64], ...]:
        """Return each feature's curve: int64 (slots,), in units of 2^-8 log-odds.

        A study may have fewer knots than the start, and none that the start has not.

        Raises:
            StudyError: features that the start does not know, one line each.
        """
        known = self._by_name()
        found, problems = [], []
        for feature in features:
            values = known.get(feature.name, {})
            missing = [slot for slot in _slots(feature) if slot not in values]
            if missing:
                problems.append(
                    f"{feature.name}: expected a feature of the start, with its bounds, special "
                    "values and some of its knots, found another: leave it out, declare it as the "
                    "start does, or make a start that knows it"
                )
                continue
            found.append(np.array([values[slot] for slot in _slots(feature)], dtype=np.int64))
        if problems:
            raise StudyError(problems)
        return tuple(found)

    def _by_name(self) -> dict[str, dict[str, int]]:
        found, place = {}, 1
        for one in self.facts.features:
            values = self.values[place : place + one.slots].tolist()
            found[one.name] = dict(zip(_slots(one), values, strict=True))
            place += one.slots
        return found


def _slots(feature: Feature) -> list[str]:
    """Return what identifies each slot: equal texts, equal meaning."""
    if isinstance(feature, CategoricalFeature):
        said: dict[str, Any] = {"levels": sorted(feature.levels)}
        names = [f"is {level}" for level in feature.levels] + ["other", "missing"]
    else:
        said = _frame(feature)
        curve = [f"at {knot!r}" for knot in feature.knots]
        curve += [*(f"= {value!r}" for value in feature.special), "missing"]
        names = [f"{level}: {name}" for level in feature.curves for name in curve]
    frame = bytes_hash(rfc8785.dumps(said))  # as it is, 512 long levels would stand here 512 times
    return [f"{frame} {name}" for name in names]


def _frame(feature: NumericFeature) -> dict[str, Any]:
    """Return what must be equal, whatever the knots are."""
    whole = feature.model_dump(mode="json")
    return {
        name: whole.get(name)
        for name in ("lower", "upper", "scale", "special", "derived", "by", "levels")
    }


@lru_cache(maxsize=8)
def start_from(content: bytes) -> PublicStart:
    """Parse a start's file, once for the same bytes.

    Raises:
        StudyError: no start, or one with curves beyond their bound.
    """
    return PublicStart.from_bytes(content)
