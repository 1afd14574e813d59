"""Batches become positions and labels; what does not fit is counted or complained about."""

from typing import Any

import numpy as np
import pyarrow as pa

from fieldfare.client.records.encoding.columns import Columns
from fieldfare.client.records.encoding.encoding import (
    CLAMPED,
    MISSING,
    OTHER,
    Encoder,
    few_texts_of,
    texts_of,
)
from fieldfare.client.records.encoding.problems import Effect, Place, Problems
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.shared.features.basis import encode_numeric
from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.study.study import Study

PLACE = Place("r.csv")
NUMBER = NumericFeature(kind="numeric", name="x", lower=0, upper=10, special=(-1,))


def encoder(positive: str = "1") -> tuple[Encoder, Problems]:
    study = Study.model_validate(
        {
            "name": "t",
            "purpose": "p",
            "records": {"label": "label", "positive": positive, "units": 9, "prevalence": 0.5},
            "features": [
                NUMBER.model_dump(),
                {"kind": "categorical", "name": "c", "levels": ["a", "2"]},
            ],
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )
    problems = Problems()
    return Encoder(Columns.of(study, ColumnMapping()), problems), problems


def batch(numbers: list[Any], texts: list[Any]) -> Any:
    columns = {"x": pa.array(numbers, pa.float64(), from_pandas=False), "c": pa.array(texts)}
    return pa.RecordBatch.from_pydict(columns)


def test_positions_and_counts() -> None:
    encode, problems = encoder()
    numbers = [3.25, -1.0, 11.0, -2.0, float("nan")]
    found = encode.positions(batch(numbers, ["a", "2.0", "b", None, "NA"]), PLACE, 0)
    assert found[0].tolist() == encode_numeric(NUMBER, np.array(numbers)).tolist()
    assert found[1].tolist() == [0, 1, 2, 3, 3]
    assert found.dtype == np.uint16
    assert encode.tally[CLAMPED].tolist() == [2, 0]
    assert encode.tally[MISSING].tolist() == [1, 2]
    assert encode.tally[OTHER].tolist() == [0, 1]
    assert not problems.lines(Effect.REFUSED, Effect.ZERO)
    told = [
        (found.effect, found.text.split(": ", 1)[1].split(";")[0]) for found in problems.findings()
    ]
    assert told == [
        (Effect.CLAMPED, "column x: expected values from 0 to 10, found others in 2 rows (3, 4)"),
        (Effect.MISSING, "column x: expected a value, found none or a missing token in 1 row (5)"),
        (
            Effect.MISSING,
            "column c: expected a value, found none or a missing token in 2 rows (4, 5)",
        ),
        (
            Effect.OTHER,
            "column c: expected a level that the study declares, found another text in 1 row (3)",
        ),
    ]


def test_the_tally_adds_up_over_batches() -> None:
    encode, _ = encoder()
    for _ in range(3):
        encode.positions(batch([99.0], ["z"]), PLACE, 0)
    assert encode.tally[CLAMPED, 0] == 3
    assert encode.tally[OTHER, 1] == 3


def test_rows_are_counted_from_the_start_of_the_file() -> None:
    encode, problems = encoder()
    encode.positions(batch([None, 1.0, float("inf")], ["a"] * 3), PLACE, 200)
    assert [line.split(" in ")[1].split(";")[0] for line in problems.lines(Effect.ZERO)] == [
        "1 row (201)",
        "1 row (203)",
    ]


def test_labels() -> None:
    encode, problems = encoder("> 1")
    column = pa.array(["2", "1", "7.5", "yes", None, "NA"])
    assert encode.labels(column, PLACE, 10).tolist() == [1, 0, 1, 0, 0, 0]
    absent, incomparable = problems.lines(Effect.ZERO)
    assert "found none in 2 rows (15, 16)" in absent
    assert "found something else in 1 row (14)" in incomparable


def test_texts_are_empty_where_null() -> None:
    assert texts_of(pa.array(["x", None, ""])).tolist() == ["x", "", ""]


def test_few_texts_are_one_object() -> None:
    found = few_texts_of(pa.array(["bank", None, "bank", ""]))
    assert found.tolist() == ["bank", "", "bank", ""]
    assert found[0] is found[2]
    assert few_texts_of(pa.array([], pa.string())).tolist() == []


def test_labels_that_are_neither_0_nor_1_are_noted() -> None:
    encode, problems = encoder("1")
    labels = encode.labels(pa.array(["1", "0", "Y", "2", "false"]), PLACE, 0)
    assert labels.tolist() == [1, 0, 0, 0, 0]
    (found,) = problems.findings()
    assert found.effect is Effect.NEGATIVE
    assert "2 rows (3, 4)" in found.text
