"""Flame graphs are of what they say, and the machine's limit is beside each."""

from pathlib import Path

import pytest
from tests.benchmarks.flames.flames import measure, own_shares, words
from tests.benchmarks.flames.works import WORKS, Work, noise, repeated


def test_own_time_is_the_last_frames_and_preparing_does_not_count() -> None:
    raw = [
        "<module> (works.py:1);step (works.py:40);read (load.py:9) 900",
        "<module> (works.py:1);repeated (works.py:90);call (works.py:50);sum (models.py:7) 60",
        "<module> (works.py:1);repeated (works.py:90);sum (models.py:7) 20",
        "<module> (works.py:1);repeated (works.py:90) 20",
    ]
    assert own_shares(raw) == [("sum (models.py:7)", 0.8), ("repeated (works.py:90)", 0.2)]


def test_a_work_is_repeated_and_held_against_its_limit() -> None:
    calls: list[int] = []
    found = repeated(Work(lambda: calls.append(1), "nothing", 0.001), 0.0)
    assert calls == [1]
    assert found["limit_milliseconds"] == 1.0
    assert found["ratio"] == pytest.approx(found["milliseconds"])
    assert noise(Path(), 0).limit_seconds > 0


@pytest.mark.promises
@pytest.mark.timeout(900)
def test_every_work_is_drawn(tmp_path: Path) -> None:
    found = measure(units=2000, seconds=0.5, out=tmp_path)
    assert set(found["works"]) == set(WORKS)
    for name in WORKS:
        assert "<svg" in (tmp_path / f"{name}.svg").read_text("utf-8")
    own = {name: [where for where, _ in one["own"]] for name, one in found["works"].items()}
    assert any("measurement_invoke" in where for where in own["noise"])
    assert any("mask_stream" in where or "_words" in where for where in own["masks"])
    assert len(words(found)) > len(WORKS)
