import numpy as np
import pytest
from numpy.typing import NDArray

from fieldfare.server.answers.estimators import frequent_texts
from fieldfare.shared.study.question_layout import Sketch, buckets, packed, signs

SKETCH = Sketch("c", 5, 2, 64, "ab" * 32)


def sketched(
    counts: dict[str, int], sigma: float, seed: int = 0, sketch: Sketch = SKETCH
) -> NDArray[np.float64]:
    shape = (sketch.rows, sketch.buckets, sketch.bits)
    raw = np.random.default_rng(seed).normal(0, sigma, shape)
    values = np.array([packed(text, 5) for text in counts], dtype=np.uint64)
    added = np.array(list(counts.values()))[:, None] * signs(sketch, values)
    for row, places in enumerate(buckets(sketch, values)):
        np.add.at(raw[row], places, added)
    return raw


def bucket_of(text: str) -> int:
    return int(buckets(SKETCH, np.array([packed(text, 5)], dtype=np.uint64))[0, 0])


def test_frequent_texts_are_found_with_their_counts() -> None:
    counts = {"RO-DE": 900, "BG-AT": 600, "NG-IT": 400}
    cells, spread = frequent_texts(SKETCH, sketched(counts, 30.0), 30.0, 5)
    assert [cell.key[0] for cell in cells] == ["RO-DE", "BG-AT", "NG-IT"]
    assert spread < 30 / 9
    for cell in cells:
        assert cell.low is not None
        assert cell.high is not None
        assert cell.low - 5 <= counts[cell.key[0]] <= cell.high + 5


def test_no_more_than_asked_for() -> None:
    counts = {"RO-DE": 900, "BG-AT": 600, "NG-IT": 400}
    cells, _ = frequent_texts(SKETCH, sketched(counts, 30.0), 30.0, 1)
    assert [cell.key[0] for cell in cells] == ["RO-DE"]


def test_what_few_units_have_never_appears() -> None:
    """300 draws: a value of 1 to 9 units, and a thousand values of one unit each, among noise."""
    many = {f"V{i}": 1 for i in range(1000)}
    for seed in range(150):
        lone = {"LONE": 1 + seed % 9}
        assert frequent_texts(SKETCH, sketched(lone, 1.0, seed), 1.0, 64)[0] == ()
        assert frequent_texts(SKETCH, sketched(many, 30.0, seed), 30.0, 64)[0] == ()


def test_two_values_in_one_bucket_do_not_make_a_third() -> None:
    values = [f"V{i}" for i in range(300)]
    rival = next(v for v in values if bucket_of(v) == bucket_of("RO-DE"))
    cells, _ = frequent_texts(SKETCH, sketched({"RO-DE": 500, rival: 500}, 5.0), 5.0, 10)
    assert {cell.key[0] for cell in cells} <= {"RO-DE", rival}


@pytest.mark.promises
def test_intervals_take_in_what_shares_a_bucket() -> None:
    """Two hundred rarer texts that look alike: no bias, and 95 % of intervals hold the count."""
    counts = {"RO-DE": 5000} | {f"R{i:03d}": 100 for i in range(200)}
    inside, values = [], []
    for seed in range(200):
        sketch = Sketch("c", 5, 2, 64, f"{seed:016x}")
        cells, _ = frequent_texts(sketch, sketched(counts, 20.0, seed, sketch), 20.0, 1)
        assert [cell.key for cell in cells] == [("RO-DE",)]
        low, high = cells[0].low, cells[0].high
        inside.append(low is not None and high is not None and low <= 5000 <= high)
        values.append(cells[0].value or 0.0)
    assert np.mean(values) == pytest.approx(5000, abs=4 * np.std(values) / np.sqrt(200))
    assert 0.91 <= np.mean(inside) <= 0.99
