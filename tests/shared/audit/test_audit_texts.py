"""A run over texts or vectors goes through the same door, ledger and audit as any other."""

from typing import Any

import numpy as np
import pytest
from tests.support.federations.bench import NAMES, MakeBench
from tests.support.runs.transcripts import Recorder

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.features.rows import UnitRows, unit_rows
from fieldfare.shared.features.text_hashing import TextEncoder
from fieldfare.shared.study.study import Study

WORDS = {0: "see you at home later", 1: "free cash prize, call now"}


def small_study(model: dict[str, Any]) -> Study:
    return Study.model_validate(
        {
            "name": "rows",
            "purpose": "tests",
            "records": {"label": "flag", "units": 400, "prevalence": 0.5},
            "model": model,
            "training": {"steps": 3},
            "evaluation": {"score_bins": 8},
            "privacy": {"epsilon": 4.0, "delta": 1e-5, "clipping_norm": 1.0},
            "aggregation": {"deadline_seconds": 5, "opening": "on", "participants": "any"},
        }
    )


def small_sums(study: Study, seed: int) -> StudySums:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, 50).astype(np.uint8)
    rows: UnitRows = TextEncoder(64).rows(WORDS[label] for label in labels.tolist())
    if study.model.kind == "vector":
        rows = unit_rows(random.normal(size=(50, 64)) + labels[:, None])
    data = EncodedUnits(np.empty((0, 50), np.uint16), labels, rows)
    return StudySums.prepare(study, data, np.arange(50) % 5 == 0)


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "text", "column": "text", "buckets": 64},
        {"kind": "vector", "column": "embedding", "entries": 64},
        {"kind": "vector", "column": "embedding", "entries": 64, "hidden": 2},
    ],
    ids=["text", "vector", "network"],
)
def test_a_run_over_rows_can_be_audited_like_any_other(
    make_bench: MakeBench, model: dict[str, Any]
) -> None:
    study = small_study(model)
    bench = make_bench(study, {n: small_sums(study, i) for i, n in enumerate(NAMES)})
    report = Recorder(bench).open().finish().audit()
    assert report.misfit is None, report.misfit
    assert (report.steps, report.state) == (3, "finished")
    assert report.epsilon <= 4.0
