"""The world's benchmark measures what it says, at a size for tests."""

from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest
from tests.benchmarks.harness import apart
from tests.benchmarks.world import (
    Worth,
    best_feature,
    make,
    promises,
    speed_promises,
    unseen_scores,
    worth_of,
)

GOOD = Worth(300, ("R17", 0.71), together=0.6, alone=0.35, together_at_banks=0.57)


def holds(worth: Worth) -> bool:
    speed = {"transactions": 2_000_000, "seconds": 1.0, "peak_bytes": 10**8}
    return all(row.holds for row in promises({"speed": speed, "worth": asdict(worth)}))


def test_speed_is_measured_in_this_process_and_apart() -> None:
    here, other = make(600), apart(make, 600)
    assert here["transactions"] == other["transactions"] > 1000
    assert here["seconds"] > 0
    assert other["peak_bytes"] > 1e7


@pytest.mark.parametrize(
    ("speed", "holds"),
    [
        ((2_000_000, 11.9, 10**9), [True, True]),
        ((2_000_000, 12.1, 10**9), [False, True]),
        ((2_000_000, 11.9, 10**9 + 1), [True, False]),
    ],
)
def test_a_slow_or_large_world_is_said(
    speed: tuple[float, float, float], holds: list[bool]
) -> None:
    names = ("transactions", "seconds", "peak_bytes")
    found = dict(zip(names, speed, strict=True))
    assert [row.holds for row in speed_promises(found)] == holds


def test_the_best_feature_is_found_in_either_direction_and_with_gaps() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    up = np.array([0.0, 1, 2, 3, 4, np.nan])
    down = -np.array([0.0, 1, 2, 3, 4, 5])
    empty = np.full(6, np.nan)
    assert best_feature(np.stack([up, down, empty], axis=1), labels, "abc") == ("b", 1.0)
    name, auroc = best_feature(np.stack([up, empty], axis=1), labels, "ac")
    assert (name, auroc) == ("a", pytest.approx(17 / 18))


def test_nobody_is_scored_by_a_model_that_has_seen_them() -> None:
    """Noise cannot be learned, so a score of noise ranks nobody."""
    rng = np.random.default_rng(0)
    labels = (rng.random(600) < 0.3).astype(np.int64)
    scores = unseen_scores(rng.random((600, 3)), labels, np.zeros(600, np.int64))
    ranked = labels[np.argsort(-scores)]
    assert ranked[:180].mean() < 0.45


def test_what_is_learned_in_a_table_where_one_feature_tells_and_banks_are_small() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(900) < 0.2).astype(np.int8)
    table = pa.table(
        {
            "institution": ["a", "b", "c"] * 300,
            "label": labels,
            "persona": ["x"] * 900,
            "customer": [str(i) for i in range(900)],
            "R01": labels + rng.normal(0, 0.4, 900),
            "R02": pa.nulls(900, pa.float64()),
        }
    )
    worth = worth_of(table)
    assert worth.positives == labels.sum()
    assert worth.best_feature[0] == "R01"
    assert not holds(worth)
    assert worth.together > 0.8


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"best_feature": ("R17", 0.8)}, False),
        ({"together": 0.34}, False),
        ({"together": 0.76}, False),
        ({"alone": 0.58}, False),
    ],
)
def test_a_world_that_is_solved_hopeless_or_better_alone_does_not_hold(
    change: dict[str, float], expected: bool
) -> None:
    figures = {name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__} | change
    assert holds(Worth(**figures)) == expected
