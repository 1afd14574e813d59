"""The measurements of one institution: that they measure what they say, not how fast it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.benchmarks import steps as bench_steps
from tests.benchmarks.inputs import study_toml, write_records
from tests.benchmarks.steps import (
    SIZES,
    NullCustodian,
    dense_seconds,
    first,
    geometry,
    measure,
    medians,
    message_milliseconds,
    peak_megabytes,
    step_seconds,
)

from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study


@pytest.fixture
def study() -> Study:
    return parse_study(study_toml(units=500, features=3, steps=5))


def units(count: int) -> EncodedUnits:
    random = np.random.default_rng(0)
    positions = random.integers(0, 1700, (3, count)).astype(np.uint16)
    return EncodedUnits(positions, (random.uniform(size=count) < 0.1).astype(np.uint8))


def test_one_institution_is_measured_from_its_file_to_its_step(tmp_path: Path) -> None:
    write_records(tmp_path / "r.parquet", units=400, features=3, banks=1)
    (tmp_path / "s.toml").write_text(study_toml(units=400, features=3, steps=5))
    found = measure(tmp_path / "r.parquet", tmp_path / "s.toml")
    assert json.loads(json.dumps(found)) == found
    assert (found["units"], found["features"]) == (400, 3)
    assert [row["units"] for row in found["steps"]] == [100, 200, 400]
    times = [found["loading_seconds"], found["dense_torch_seconds"], found["message_milliseconds"]]
    times += [row[key] for row in found["steps"] for key in ("private_seconds", "plain_seconds")]
    assert all(value > 0 for value in times)
    assert 50 < found["peak_megabytes"] <= found["peak_megabytes_of_all"]


def test_other_coordinates_are_measured() -> None:
    found = geometry(300, 3)
    assert json.loads(json.dumps(found)) == found
    assert found["entries"] == 1 + 3 * 10
    assert all(value > 0 for value in found.values())


def test_the_private_step_has_exact_noise(study: Study) -> None:
    """Simulated noise would flatter the figure: the kind that a deployment runs is timed."""
    drawn: list[tuple[int, float]] = []

    class Watched(ExactNoise):
        def sample(self, entries: int, scale: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
            drawn.append((entries, scale))
            return np.asarray(super().sample(entries, scale))

    noise = Watched()
    assert noise.protection is Protection.EXACT
    row = step_seconds(study, units(50), noise)
    assert row["units"] == 50
    assert len(drawn) == 1 + bench_steps.REPEATS
    assert drawn[0][0] == 1 + 3 * 10  # eight knots, zero and missing


def test_steps_take_turns_and_the_first_is_not_counted() -> None:
    order: list[str] = []
    found = medians({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3)
    assert order == ["a", "b"] * 4
    assert set(found) == {"a", "b"}


def test_a_part_of_the_units_is_the_first_part() -> None:
    whole = units(40)
    assert first(whole, 1.0) is whole
    part = first(whole, 0.25)
    assert len(part) == 10
    np.testing.assert_array_equal(part.positions, whole.positions[:, :10])
    assert SIZES[-1] == 1.0


def test_the_dense_step_is_scaled_to_all_units(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_steps, "medians", lambda steps: dict.fromkeys(steps, 2.0))
    monkeypatch.setattr(bench_steps, "DENSE_UNITS", 100)
    assert dense_seconds(study, units(100)) == pytest.approx(2.0)
    assert dense_seconds(study, units(400)) == pytest.approx(8.0)


def test_the_dense_step_is_the_gradient_that_is_compared(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At zero parameters, torch's dense step and the plain sum are the same numbers."""
    from fieldfare.shared.models import model_for

    results: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []

    def keep(steps: dict[str, bench_steps.Step]) -> dict[str, float]:
        results.extend(np.asarray(step(), dtype=np.float64) for step in steps.values())
        return dict.fromkeys(steps, 1.0)

    monkeypatch.setattr(bench_steps, "medians", keep)
    data = units(200)
    dense_seconds(study, data)
    model = model_for(study)
    plain = model.prepare(data).plain_gradient(np.zeros(model.vectors.entries))
    np.testing.assert_allclose(results[0], plain, atol=1e-3)


def test_a_round_of_messages_asks_six_custodians(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, list[int]]] = []
    release = NullCustodian.release

    def counted(
        self: NullCustodian, request: bytes, parameters: bytes, last: LastSum = NO_LAST_SUM
    ) -> object:
        if parameters:
            asked.append((len(parameters), [len(vector) for vector in last.vectors]))
        return release(self, request, parameters, last)

    monkeypatch.setattr(NullCustodian, "release", counted)
    assert message_milliseconds(study, rounds=2) > 0
    # Three rounds, the first of them uncounted; the last step's vectors travel with each request.
    assert asked == [(8 * 31, [8 * 31] * 6)] * 18


def test_peak_memory_is_this_process_and_in_megabytes() -> None:
    assert 20 < peak_megabytes() < 20_000
