"""A column of texts loads as rows: every script, nothing kept, and no picture in disguise."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records import LoadedRecords, read_records
from fieldfare.client.records.encoding.problems import Effect, Place, Problems
from fieldfare.client.records.encoding.rows import row_reader, vector_in
from fieldfare.client.records.sources import engine
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.rows import DenseRows, SparseRows, unit_rows
from fieldfare.shared.features.text_hashing import TextEncoder
from fieldfare.shared.study.study import Study

TEXTS = [
    "Win £1000 cash now! Call 09061701461",
    "Café, s'il vous plaît; Ærøskøbing",
    "Бесплатно! Звоните сейчас",
    "รับเงินฟรีวันนี้",
    "😀👍🏽 ok",
    "שלום עולם",
    "مرحبا بالعالم",
    'a "quoted", text; with, separators',
]


def study(**records: Any) -> Study:
    return Study.model_validate(
        {
            "name": "texts",
            "purpose": "tests",
            "records": {
                "unit": "case", "label": "flag", "units": 100, "prevalence": 0.1, **records,
            },
            "model": {"kind": "text", "column": "text", "buckets": 128},
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )  # fmt: skip


def table(texts: list[str | None]) -> pa.Table:
    rows = len(texts)
    return pa.table(
        {
            "case": [f"c{row}" for row in range(rows)],
            "text": pa.array(texts, pa.string()),
            "flag": [row % 2 for row in range(rows)],
        }
    )


def load(tmp_path: Path, texts: list[str | None], **given: Any) -> LoadedRecords:
    path = tmp_path / "records.parquet"
    pq.write_table(table(texts), path)
    return read_records([path], study(), **given)


def rows_in(records: LoadedRecords) -> SparseRows:
    assert isinstance(records.data.rows, SparseRows)
    return records.data.rows


def same(found: SparseRows, texts: list[str]) -> bool:
    expected = TextEncoder(128).rows(texts)
    return all(
        np.array_equal(getattr(found, name), getattr(expected, name))
        for name in ("starts", "places", "values")
    )


def test_texts_of_every_script_are_the_rows_of_their_grams(tmp_path: Path) -> None:
    records = load(tmp_path, list(TEXTS))
    assert same(rows_in(records), TEXTS)
    assert records.data.positions.shape == (0, len(TEXTS))
    assert records.data.labels.tolist() == [0, 1] * 4
    assert records.counts.missing == {"text": 0}


def test_csv_and_parquet_are_the_same_rows(tmp_path: Path) -> None:
    lines = ["case,text,flag"]
    for row, text in enumerate(TEXTS):
        quoted = text.replace('"', '""')
        lines.append(f'c{row},"{quoted}",{row % 2}')
    path = tmp_path / "records.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert same(rows_in(read_records([path], study())), TEXTS)


def test_batches_and_selections_keep_each_row_with_its_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BATCH_ROWS", 3)
    records = load(tmp_path, list(TEXTS))
    assert same(rows_in(records), TEXTS)
    odd = records.select(np.arange(len(TEXTS)) % 2 == 1)
    assert odd.units.tolist() == ["c1", "c3", "c5", "c7"]
    assert same(rows_in(odd), TEXTS[1::2])


def test_nobody_and_nothing_said_load_like_any_other(tmp_path: Path) -> None:
    records = load(tmp_path, [None, "", " ", "NA", "words"])
    assert records.counts.missing == {"text": 4}
    assert same(rows_in(records), ["", "", "", "", "words"])
    empty = load(tmp_path, [])
    assert len(empty) == len(rows_in(empty)) == 0


def test_a_file_without_the_column_says_so(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(table(["a"]).drop_columns(["text"]), path)
    with pytest.raises(RecordsError, match="expected column text, found none"):
        read_records([path], study())


def test_binary_columns_are_never_read(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    changed = table(["a"]).set_column(1, "text", pa.array([b"\xff\xd8\xff\xe0"], pa.binary()))
    pq.write_table(changed, path)
    with pytest.raises(RecordsError, match="found binary or nested values"):
        read_records([path], study())


def zero_lines(records: LoadedRecords) -> str:
    return "\n".join(found.text for found in records.findings if found.effect is Effect.ZERO)


def test_media_in_a_text_counts_as_zero_and_is_not_shown(tmp_path: Path) -> None:
    picture = base64.b64encode(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(200))).decode()
    records = load(tmp_path, ["hello", picture, "see <img src=x>", picture])
    assert records.units.tolist() == ["c0"]
    assert same(rows_in(records), ["hello"])
    said = zero_lines(records)
    assert "found bytes that begin like JPEG in 2 rows (2, 4)" in said
    assert "found markup of a picture or page in 1 row (3)" in said
    assert picture[:8] not in said


def test_studies_of_features_have_no_reader() -> None:
    plain = study().model_copy(update={"model": None})
    assert row_reader(study(), Problems()) is not None
    assert row_reader(plain, Problems()) is None


def test_a_reader_takes_batches_in_order() -> None:
    reader = row_reader(study(missing=["none"]), Problems())
    assert reader is not None
    reader.read("text", pa.array(["one", "none"]), Place("t"), 0)
    reader.read("text", pa.array(["two"]), Place("t"), 2)
    found = reader.finish()
    assert isinstance(found, SparseRows)
    assert same(found, ["one", "", "two"])
    assert reader.absent == 1


# -- vectors ------------------------------------------------------------------------------------


def vector_study() -> Study:
    data = study().model_dump(mode="json")
    data["model"] = {"kind": "vector", "column": "embedding", "entries": 64}
    return Study.model_validate(data)


VECTORS = np.random.default_rng(3).normal(size=(5, 64))


def load_vectors(tmp_path: Path, column: pa.Array) -> LoadedRecords:
    path, rows = tmp_path / "vectors.parquet", len(column)
    ids, flags = [f"c{row}" for row in range(rows)], [row % 2 for row in range(rows)]
    pq.write_table(pa.table({"case": ids, "flag": flags, "embedding": column}), path)
    return read_records([path], vector_study())


def dense(records: LoadedRecords) -> list[list[int]]:
    assert isinstance(records.data.rows, DenseRows)
    return records.data.rows.values.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(VECTORS.tolist(), pa.list_(pa.float64())),
        pa.array(VECTORS.tolist(), pa.list_(pa.float64(), 64)),
        pa.array([json.dumps(vector.tolist()) for vector in VECTORS]),
    ],
    ids=["lists", "fixed lists", "JSON"],
)
def test_vectors_are_read_from_lists_and_texts_alike(
    tmp_path: Path, column: pa.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BATCH_ROWS", 2)
    assert dense(load_vectors(tmp_path, column)) == unit_rows(VECTORS).values.tolist()


def test_single_precision_and_missing_vectors_load(tmp_path: Path) -> None:
    singles = VECTORS.astype(np.float32)
    column = pa.array([singles[0].tolist(), None], pa.list_(pa.float32()))
    records = load_vectors(tmp_path, column)
    near = unit_rows(singles[:1].astype(np.float64)).values[0]
    assert np.abs(np.array(dense(records)[0]) - near).max() <= 1
    assert not any(dense(records)[1])
    assert records.counts.missing == {"embedding": 1}
    assert dense(load_vectors(tmp_path, column.slice(0, 0))) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (VECTORS[0, :63].tolist(), "another number of entries"),
        ([*VECTORS[0, :63].tolist(), float("inf")], "no finite numbers"),
        ([*VECTORS[0, :63].tolist(), 1e7], "numbers beyond 1e+06"),
        ([*VECTORS[0, :63].tolist(), None], "no finite numbers"),
    ],
)
def test_what_is_no_vector_counts_as_zero(tmp_path: Path, value: list[float], problem: str) -> None:
    column = pa.array([VECTORS[1].tolist(), value], pa.list_(pa.float64()))
    records = load_vectors(tmp_path, column)
    assert dense(records) == unit_rows(VECTORS[1:2]).values.tolist()
    assert "1 row (2)" in zero_lines(records)
    assert problem in zero_lines(records)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("7", "something else"),
        ("[true, false]", "no finite numbers"),
        ('{"photo": "x"}', "a key that is named like a picture"),
        ("[[1.5, 2.5], [3.5, 4.5]]", "lists of lists"),
        ("[" * 5000, "no finite numbers"),
        ("a sentence of somebody", "other text"),
        (str([10**400] * 64), "numbers beyond"),
        ("[" + "NaN, " * 63 + "NaN]", "numbers beyond"),
    ],
)
def test_a_text_that_is_no_vector_says_why(text: str, problem: str) -> None:
    found = vector_in(text, 64)
    assert isinstance(found, str)
    assert problem in found


def test_a_model_of_texts_reads_no_lists(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    column = pa.array([VECTORS[0].tolist()], pa.list_(pa.float64()))
    pq.write_table(pa.table({"case": ["a"], "flag": [1], "text": column}), path)
    with pytest.raises(RecordsError, match="binary or nested"):
        read_records([path], study())
