"""A study that counts its alerts by group, and made-up institutions whose units are in groups."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedUnits, AskedValues
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.evaluation.groups import read_fairness
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.study.study import Study

AGES: Final = {"column": "age_band", "levels": ["18-24", "25-64"]}
SEGMENTS: Final = {
    "column": "segment",
    "levels": ["retail", "private", "student"],
    "rest": "no segment",
}
SECTIONS: Final[dict[str, Any]] = {
    "records": {"label": "reported", "units": 4000, "prevalence": 0.3, "unit": "id"},
    "training": {"steps": 2},
    "evaluation": {"score_bins": 12, "alert_budget": 0.1, "groups": [AGES, SEGMENTS]},
    "privacy": {"epsilon": 4.0, "delta": 1e-5},
    "aggregation": {
        "minimum_institutions": 3,
        "deadline_seconds": 5,
        "opening": "on",
        "participants": "any",
    },
}
FEATURES: Final = (
    {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10, "knots": [0, 2, 5, 10]},
    {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]},
)


def grouped_study(**changes: Any) -> Study:
    """A small study with two groupings; keyword arguments change its sections."""
    content = {"name": "grouped", "purpose": "tests", "features": FEATURES, **SECTIONS}
    for name, section in changes.items():
        old = content.get(name)
        content[name] = old | section if isinstance(old, dict) else section
    return Study.model_validate(content)


def grouped_sums(
    study: Study, units: int, *, seed: int, codes: Mapping[str, NDArray[np.int32]] | None = None
) -> StudySums:
    """Sums over made-up units whose label follows the first feature.

    Codes go beyond the levels: some units have another level or none.
    """
    random = np.random.default_rng(seed)
    positions = random.integers(0, [[3 * 256 + 2], [4]], (2, units)).astype(np.uint16)
    labels = (random.uniform(0, 3 * 256, units) < positions[0]).astype(np.uint8)
    held = random.uniform(size=units) < study.evaluation.holdout
    if codes is None:
        codes = {
            group.column: random.integers(0, len(group.levels) + 2, units).astype(np.int32)
            for group in study.groups
        }
    order = unit_order([f"unit-{row}" for row in range(units)], key=b"key")
    asked = AskedUnits("bank-a", labels, AskedValues(codes=codes), order)
    return StudySums.prepare(study, EncodedUnits(positions, labels), held, asked)


# Of the young, 1 in 10 of the unlabelled is an alert; of the others, 1 in 91.
FARED: Final = (9000.0, 1000, 40, 60, 90_000, 1000, 10, 40, 40, 1, 2, 1)


def released_groups(noise: float = 3.0) -> dict[str, Any]:
    """What a study by age found, without any draw of noise."""
    study = grouped_study(evaluation={"groups": [AGES]})
    return read_fairness(study, np.array(FARED), noise, 0.0)
