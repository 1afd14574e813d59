"""Texts are ranked as the model says, nobody who must not be shown is, and reasons add up."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records.sources import engine
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking import rank_rows
from fieldfare.client.scoring.units import ScorableUnits, read_rows
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.features.text_hashing import TextEncoder
from fieldfare.shared.models.linear import row_scores
from fieldfare.shared.study.study import Study

TEXTS = ["see you at home", "free cash prize", "Бесплатно! 😀", "", "free lunch"]
KEY = b"k" * 32


def study(**records: Any) -> Study:
    return Study.model_validate(
        {
            "name": "texts",
            "purpose": "tests",
            "records": {
                "unit": "case", "label": "flag", "units": 100, "prevalence": 0.5, **records,
            },
            "model": {"kind": "text", "column": "text", "buckets": 512},
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )  # fmt: skip


def read(tmp_path: Path, texts: list[str], asked: str | None = None) -> ScorableUnits:
    path = tmp_path / "records.parquet"
    ids = [f"c{row}" for row in range(len(texts))]
    pq.write_table(pa.table({"case": ids, "text": texts}), path)
    return read_rows([table_at(path)], study(), asked)


def model() -> np.ndarray[Any, np.dtype[np.float64]]:
    """A bias, and weights that like the words of the second text."""
    parameters = np.zeros(513)
    parameters[0] = -1.0
    liked = TextEncoder(512).rows(["free cash prize"])
    parameters[1 + liked.places.astype(int)] = 2.0
    return parameters


def test_texts_are_ranked_by_the_models_own_scores_and_need_no_labels(tmp_path: Path) -> None:
    found = read(tmp_path, TEXTS)
    ranked = rank_rows(study(), model(), found, key=KEY)
    expected = row_scores(model(), TextEncoder(512).rows(TEXTS))
    assert ranked.scores.tolist() == expected.tolist()
    assert ranked.scores[3] == -1.0
    assert ranked.units.units.take(ranked.top(2)).to_pylist() == ["c1", "c4"]
    assert sorted(ranked.ranks.tolist()) == [1, 2, 3, 4, 5]
    assert ranked.place_of("c2") == 2


def test_batches_change_nothing_and_only_the_asked_text_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rank_rows(study(), model(), read(tmp_path, TEXTS), key=KEY)
    monkeypatch.setattr(engine, "BATCH_ROWS", 2)
    found = read(tmp_path, TEXTS, "c4")
    assert found.text == "free lunch"
    assert rank_rows(study(), model(), found, key=KEY).ranks.tolist() == whole.ranks.tolist()
    assert read(tmp_path, TEXTS, "nobody").text is None
    assert "free" not in repr(found)


def test_the_suppressed_are_not_ranked(tmp_path: Path) -> None:
    ranked = rank_rows(study(), model(), read(tmp_path, TEXTS), key=KEY, suppressed={"c1"})
    assert "c1" not in ranked.units.units.to_pylist()
    assert ranked.top(1) == [3]
    with pytest.raises(UsageError, match="suppression"):
        ranked.place_of("c1")


def test_records_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"case": ["a", "a", ""], "text": ["x", "y", "z"]}), path)
    with pytest.raises(RecordsError, match="1 rows without an id and 1 further rows"):
        read_rows([table_at(path)], study())
    pq.write_table(pa.table({"case": ["a"], "flag": [1]}), path)
    with pytest.raises(RecordsError, match="expected column text in a readable form"):
        read_rows([table_at(path)], study())
    with pytest.raises(RecordsError, match="JPEG"):
        read(tmp_path, ["ffd8ffe000104a46494600010101004800480000ffdb0043"])


def test_a_study_without_unit_or_texts_is_refused() -> None:
    with pytest.raises(UsageError):
        read_rows([], study(unit=None))
    plain = study().model_copy(update={"model": None})
    with pytest.raises(UsageError):
        read_rows([], plain)


def test_vectors_are_ranked_from_lists_of_numbers(tmp_path: Path) -> None:
    data = study().model_dump(mode="json")
    data["model"] = {"kind": "vector", "column": "embedding", "entries": 64}
    vectors = np.random.default_rng(0).normal(size=(30, 64))
    path = tmp_path / "records.parquet"
    ids = [f"c{row}" for row in range(30)]
    pq.write_table(pa.table({"case": ids, "embedding": vectors.tolist()}), path)
    found = read_rows([table_at(path)], Study.model_validate(data))
    parameters = np.concatenate([[0.5], vectors[7]])
    assert rank_rows(Study.model_validate(data), parameters, found, key=KEY).top(1) == [7]
    texts = data | {"model": {"kind": "text", "column": "embedding"}}
    with pytest.raises(RecordsError, match="column embedding"):
        read_rows([table_at(path)], Study.model_validate(texts))
