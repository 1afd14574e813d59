"""A profile keeps numbers, counts other texts, and reads any kind of file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.drafting import profile as profiles
from fieldfare.client.drafting.profile import count_different, profile_sample
from fieldfare.client.records.sources.source import SourceFile, table_at
from fieldfare.shared.errors import RecordsError

TEXT = """id,amount,word,label
a, 10 ,x,1
b,?,y,0
c,-3.5,,
d,n/k,x,1
e,inf,true,1
"""


def parts_of(paths: list[Path]) -> list[SourceFile]:
    return [part for path in paths for part in table_at(path).parts]


@pytest.fixture
def sample_file(tmp_path: Path) -> Path:
    path = tmp_path / "r.csv"
    path.write_text(TEXT)
    return path


def test_numbers_missing_and_other_texts(sample_file: Path) -> None:
    sample = profile_sample(parts_of([sample_file]), "label")
    amount, word = sample.columns["amount"], sample.columns["word"]
    assert sample.rows == 5
    assert amount.numbers.tolist() == [10, -3.5]
    assert (amount.missing, amount.present) == (1, 4)
    assert amount.texts == {"n/k": 1, "inf": 1}
    assert word.texts == {"x": 2, "y": 1}
    assert word.numbers.tolist() == [1]
    assert sample.labels == {"1": 3, "0": 1, None: 1}


def test_typed_columns(tmp_path: Path) -> None:
    columns = {"x": [1.5, None, float("inf")], "flag": [True, False, None], "label": [1, 0, None]}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    sample = profile_sample(parts_of([tmp_path / "r.parquet"]), "label")
    assert sample.columns["x"].numbers.tolist() == [1.5]
    assert sample.columns["x"].texts == {"inf": 1}
    assert sample.columns["flag"].numbers.tolist() == [1, 0]
    assert sample.labels == {"1": 1, "0": 1, None: 1}


def test_several_files_are_one_table(sample_file: Path) -> None:
    assert profile_sample(parts_of([sample_file] * 3), "label").rows == 15
    other = sample_file.with_name("other.csv")
    other.write_text("id,amount,label\n")
    with pytest.raises(RecordsError, match="the same columns"):
        profile_sample(parts_of([sample_file, other]), "label")


def test_an_empty_sample_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("x,label\n")
    with pytest.raises(RecordsError, match="at least one record"):
        profile_sample(parts_of([tmp_path / "r.csv"]), "label")


def test_counting_texts_stops_at_a_limit(
    sample_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "MOST_TEXTS", 3)
    sample = profile_sample(parts_of([sample_file]), "label")
    assert sample.columns["id"].overflowing
    assert not sample.columns["word"].overflowing


def test_different_combinations(sample_file: Path) -> None:
    assert count_different(parts_of([sample_file]), ["id"]) == 5
    assert count_different(parts_of([sample_file]), ["word"]) == 4
    assert count_different(parts_of([sample_file, sample_file]), ["word", "label"]) == 4
