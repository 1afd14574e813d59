"""Settings of training that fit a study, from public numbers: coordinates, C, steps, rate, betas.

The table, settings.toml, was chosen on trials by tests/benchmarks/learning/settings.py and, its
coordinates, by coordinates.py there, which name their sets and say how each rule did on the sets
that had not chosen it (docs/adr/0030-coordinates-follow-from-public-numbers.md, and 0073). The
defaults of a study that says nothing stay what they are, for they are hashed: whoever drafts a
study writes these into it.
"""

from functools import cache
from importlib.resources import files
from tomllib import loads
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from fieldfare.shared.study.geometry_section import Coordinates
from fieldfare.shared.study.training_section import TrainingSection

OF_TRAINING: Final = ("steps", "learning_rate", "beta1", "beta2")  # of a study and of a band
_ROOM: Final = "fieldfare.shared.joining"
_USUAL: Final = TrainingSection()


class Band(BaseModel):
    """The settings from a strength on.

    Attributes:
        strength: of the signal, from which they hold.
        entries: of a sum, up to which they hold; None: any number.
        coordinates: in which a model is trained; None: its features' own.
        beta1, beta2: of Adam, its momentum and the memory of its scale; a `beta2` of 1 measures
            steps in their noise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strength: float = Field(ge=0)
    entries: int | None = None
    coordinates: Coordinates | None = None
    clipping_norm: float
    steps: int
    learning_rate: float
    beta1: float = _USUAL.beta1
    beta2: float = _USUAL.beta2

    @property
    def changes(self) -> dict[str, Any]:
        """The same as keys of a study, section and key."""
        turned = {} if self.coordinates is None else {"geometry__kind": self.coordinates}
        training = {f"training__{name}": getattr(self, name) for name in OF_TRAINING}
        return turned | {"privacy__clipping_norm": self.clipping_norm} | training


@cache
def bands() -> dict[str, tuple[Band, ...]]:
    """Return the bands of each kind of model; of those that hold the last one counts."""
    place = files(_ROOM).joinpath("settings.toml")
    told = loads(place.read_text("utf-8"))["bands"]
    return {kind: tuple(map(Band.model_validate, rows)) for kind, rows in told.items()}


def fitting_settings(kind: str, strength: float, entries: int = 1) -> Band | None:
    """Return the settings that fit; None for a kind that nobody measured.

    Args:
        kind: of the model.
        strength: of the study's signal (`PublicNumbers.strength`).
        entries: of a sum: no transcript holds the moments of more than a thousand.
    """
    found = (b for b in reversed(bands().get(kind, ())) if strength >= b.strength)
    return next((b for b in found if b.entries is None or entries <= b.entries), None)
