"""Records in every form are the same records; what is none is said with what was expected."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.lab.frames import arrow_of, tables_of
from fieldfare.shared.errors import UsageError

ROWS = 300


def columns() -> dict[str, Any]:
    random = np.random.default_rng(3)
    amount = random.gamma(2, 100, ROWS).clip(0, 900)
    return {
        "id": [f"c{row}" for row in range(ROWS)],
        "bank": [f"bank-{row % 3}" for row in range(ROWS)],
        "amount": amount,
        "visits": random.integers(0, 5, ROWS),
        "night": random.random(ROWS) < 0.3,
        "channel": [["web", "branch", "app"][row % 3] for row in random.permutation(ROWS)],
        "fraud": (random.random(ROWS) < amount / 600).astype(np.int64),
    }


def pandas(data: dict[str, Any], _: Path) -> Any:
    frame = pytest.importorskip("pandas").DataFrame(data)
    return frame.set_index(np.arange(ROWS)[::-1])  # an index is no column, and no order


def polars(data: dict[str, Any], _: Path) -> Any:
    return pytest.importorskip("polars").DataFrame(data)


def by_bank(data: dict[str, Any], _: Path) -> Any:
    table = pa.table(data)
    banks = sorted(set(data["bank"]))
    return {bank: table.filter(pa.compute.equal(table["bank"], bank)) for bank in banks}


def parquet(data: dict[str, Any], folder: Path) -> Path:
    pq.write_table(pa.table(data), folder / "records.parquet")
    return folder / "records.parquet"


def csv(data: dict[str, Any], folder: Path) -> str:
    lines = [",".join(map(str, row)) for row in zip(*data.values(), strict=True)]
    (folder / "records.csv").write_text("\n".join([",".join(data), *lines]) + "\n")
    return str(folder / "records.csv")


def fields(data: dict[str, Any], _: Path) -> Any:
    arrays = [np.asarray(one) for one in data.values()]
    kinds = [(name, one.dtype) for name, one in zip(data, arrays, strict=True)]
    made = np.empty(ROWS, dtype=kinds)
    for name, one in zip(data, arrays, strict=True):
        made[name] = one
    return made


FORMS: list[Callable[[dict[str, Any], Path], Any]] = [
    lambda data, _: data,
    lambda data, _: {name: pa.array(one) for name, one in data.items()},
    lambda data, _: pa.table(data).to_batches()[0],
    pandas, polars, by_bank, parquet, csv, fields,
]  # fmt: skip


@pytest.fixture(scope="module")
def study() -> Any:
    import fieldfare

    drafted = fieldfare.Study.draft(
        pa.table(columns()), label="fraud", unit="id", institution_column="bank",
        units=300, prevalence=0.3,
        bounds={"amount": (0, 900), "visits": (0, 4)}, levels={"channel": ["web", "branch"]},
        epsilon=8,
    )  # fmt: skip
    return drafted.with_(training={"steps": 2})


def run(study: Any, data: Any) -> Any:
    import fieldfare

    column = None if isinstance(data, dict) and "bank-0" in data else "bank"
    return fieldfare.simulate(study, data, institution_column=column, baselines=(), progress=False)


@pytest.fixture(scope="module")
def expected(study: Any) -> Any:
    return run(study, pa.table(columns()))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_results(
    form: Callable[[dict[str, Any], Path], Any], study: Any, expected: Any, tmp_path: Path
) -> None:
    found = run(study, form(columns(), tmp_path))
    assert found.results == expected.results
    assert found.parameters.tobytes() == expected.parameters.tobytes()


# -- odd columns ------------------------------------------------------------------------------


def test_odd_columns_of_pandas_are_read_as_a_file_would_be() -> None:
    frame = pytest.importorskip("pandas")
    table = arrow_of(
        frame.DataFrame(
            {
                7: [1, 2, 3],
                "mixed": [1, "n/k", None],
                "kinds": frame.Categorical(["a", "b", "a"]),
                "counts": frame.array([1, None, 3], dtype="Int64"),
                "days": frame.to_datetime(["2025-01-01", None, "2025-01-03"]),
                "months": frame.period_range("2025-01", periods=3, freq="M"),
                "prices": [Decimal("1.50"), None, Decimal(2)],
                "empty": [None, None, None],
                "nan": [float("nan"), 1.0, 2.0],
            }
        )
    )
    assert table.column_names[0] == "7"
    assert table["mixed"].to_pylist() == ["1", "n/k", None]
    assert table["nan"].null_count == 1
    assert table["counts"].null_count == 1
    assert not any(isinstance(one, pa.BaseExtensionType) for one in table.schema.types)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (5, "expected an Arrow table.*, found a int"),
        (np.zeros((3, 2)), "expected an Arrow table.*, found an array of 2 axes without named"),
        ({}, None),
        ({"a": [1, 2], "b": [1]}, "expected columns of one length, found 1 and 2"),
        ({"a": np.zeros((2, 2))}, "column 'a': expected one value for each row, found an array of"),
        ({"a": [object(), 1]}, "column 'a': expected numbers, truth values.*, found a object"),
        ({"": pa.table({"a": [1]})}, 'expected names of institutions, found ""'),
        ({"bank-a": 3}, "bank-a: expected an Arrow table.*, found a int"),
    ],
)
def test_what_is_no_table_is_said(data: Any, said: str | None) -> None:
    if said is None:
        assert tables_of(data) == {}  # of no institution: refused by the study's minimum
        return
    with pytest.raises(UsageError, match=said):
        tables_of(data)


def test_no_value_stands_in_a_message() -> None:
    with pytest.raises(UsageError) as caught:
        arrow_of({"a": ["SECRET-VALUE", {"SECRET-KEY": 1}]})
    assert "SECRET" not in str(caught.value)


def test_columns_of_one_name_are_refused() -> None:
    frame = pytest.importorskip("pandas").DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(UsageError, match="expected different column names, found 'a' twice"):
        arrow_of(frame)
