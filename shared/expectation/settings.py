"""Settings of training that fit a study: C, steps and learning rate, from public numbers alone.

The table, settings.toml, was chosen on trials by tests/benchmarks/learning/settings.py, which names
its sets and says how each rule did on the sets that had not chosen it. The defaults of a study that
says nothing stay what they are, for they are hashed: whoever drafts a study writes these into it.
"""

from functools import cache
from importlib.resources import files
from tomllib import loads
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

_ROOM: Final = "fieldfare.shared.expectation"


class Band(BaseModel):
    """The settings from a strength on.

    Attributes:
        strength: of the signal, from which they hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strength: float = Field(ge=0)
    clipping_norm: float
    steps: int
    learning_rate: float

    @property
    def changes(self) -> dict[str, Any]:
        """The same as keys of a study, section and key."""
        return {
            "privacy__clipping_norm": self.clipping_norm,
            "training__steps": self.steps,
            "training__learning_rate": self.learning_rate,
        }


@cache
def bands() -> dict[str, tuple[Band, ...]]:
    """Return the bands of each kind of model, the weakest first."""
    place = files(_ROOM).joinpath("settings.toml")
    told = loads(place.read_text("utf-8"))["bands"]
    return {kind: tuple(map(Band.model_validate, rows)) for kind, rows in told.items()}


def fitting_settings(kind: str, strength: float) -> Band | None:
    """Return the settings that fit; None for a kind that nobody measured.

    Args:
        kind: of the model.
        strength: of the study's signal (`PublicNumbers.strength`).
    """
    return next((b for b in reversed(bands().get(kind, ())) if strength >= b.strength), None)
