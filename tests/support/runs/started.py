"""A small public start, and the sections of a study that starts there."""

import base64
from typing import Any, Final

import numpy as np

from fieldfare.shared.features.public_start import PublicStart, StartFacts

STARTED_FEATURES: Final = (
    {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10, "knots": [0, 2, 5, 10]},
    {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]},
)
CURVES: Final = (-300, 0, 100, 500, 0, 20, -20, 0, 0)  # of both features, in units of 2^-8


def small_start(offset: int = 10, curves: tuple[int, ...] = CURVES, **facts: Any) -> PublicStart:
    """A start of two features."""
    said = {"generator": "tests", "seed": 7, "settings": {"scenarios": "none"}} | facts
    made = StartFacts.model_validate({"features": STARTED_FEATURES, **said})
    return PublicStart(made, np.array([offset, *curves], dtype=np.int16))


def starting_at(start: PublicStart, **changes: Any) -> dict[str, Any]:
    """`[training]` of a study that starts there."""
    held = {"start_hash": start.hash, "start_file": base64.b64encode(start.to_bytes()).decode()}
    return {"start": "public:small", **held, **changes}
