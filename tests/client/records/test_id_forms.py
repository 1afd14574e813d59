"""The same customers in forty forms: which of them move a unit, and that those are noticed."""

import sqlite3
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import feather
from tests.support.rows import one_of_each

from fieldfare.client.records import ColumnMapping, holdout_mask, read_records
from fieldfare.client.records.encoding.id_sketch import IdSketch
from fieldfare.shared.study.study import Study

KEY: Final = b"k" * 32
UNITS: Final = 2_000
SHARE: Final = 0.2
STUDY: Final = Study.model_validate(
    {
        "name": "t",
        "purpose": "p",
        "records": {"unit": "unit", "label": "label", "units": UNITS, "prevalence": 0.1},
        "features": [{"kind": "numeric", "name": "amount", "lower": 0, "upper": 10}],
        "privacy": {"epsilon": 1, "delta": 1e-5},
    }
)
NUMBERS: Final = [str(4_000_017 + 3 * place) for place in range(UNITS)]
TEXTS: Final = [f"Zoë-k{place}" for place in range(UNITS)]
BIG: Final = [str(2**53 + 1 + 2 * place) for place in range(UNITS)]

Ids = Sequence[str]
Write = Callable[[Path, Ids], Path]


def table(ids: Any) -> pa.Table:
    count = len(ids)
    return pa.table({"unit": ids, "amount": np.ones(count), "label": np.zeros(count, np.int64)})


def as_text(form: Callable[[str], str], *, quoted: bool = True) -> Write:
    """A CSV file of texts."""

    def write(folder: Path, ids: Ids) -> Path:
        options = pc.WriteOptions(quoting_style="all_valid" if quoted else "none")
        pc.write_csv(table([form(one) for one in ids]), folder / "r.csv", options)
        return folder / "r.csv"

    return write


def as_type(kind: pa.DataType, cast: Callable[[str], Any] = str, *, gap: bool = False) -> Write:
    """A Parquet file of a typed column; with `gap`, one row has no id."""

    def write(folder: Path, ids: Ids) -> Path:
        values: list[Any] = [cast(one) for one in ids]
        made = pa.array([*values, None] if gap else values, pa.int64() if gap else None)
        pq.write_table(table(made.cast(kind)), folder / "r.parquet")
        return folder / "r.parquet"

    return write


def as_feather(folder: Path, ids: Ids) -> Path:
    feather.write_feather(table([int(one) for one in ids]), folder / "r.arrow")
    return folder / "r.arrow"


def as_database(kind: str, engine: Callable[..., Any]) -> Write:
    def write(folder: Path, ids: Ids) -> Path:
        path = folder / ("r.duckdb" if engine is duckdb.connect else "r.sqlite")
        with engine(path) as connection:
            connection.execute(f"CREATE TABLE r (unit {kind}, amount DOUBLE, label INTEGER)")
            for start in range(0, len(ids), 500):  # an engine of columns takes ms a statement
                some = ids[start : start + 500]
                rows = ", ".join("(?, 1, 0)" for _ in some)
                connection.execute(f"INSERT INTO r VALUES {rows}", some)
        return path

    return write


def as_latin(folder: Path, ids: Ids) -> Path:
    path = folder / "r.csv"
    text = "".join(f"{one},1,0\n" for one in ids)
    path.write_bytes(("unit,amount,label\n" + text).encode("latin-1"))
    return path


def same(one: str) -> str:
    return one


def nfd(one: str) -> str:
    return unicodedata.normalize("NFD", one)


# The ids, how an export writes them, and whether people change their sides by it.
FORMS: Final[dict[str, tuple[Ids, Write, bool]]] = {
    "text": (NUMBERS, as_text(same), False),
    "text without quotes": (NUMBERS, as_text(same, quoted=False), False),
    "blanks around it": (NUMBERS, as_text(" {} ".format), False),
    "a tab behind it": (NUMBERS, as_text("{}\t".format), False),
    "unbreakable blanks": (NUMBERS, as_text("\u00a0{}\u3000".format), False),
    "7.0": (NUMBERS, as_text("{}.0".format), False),
    "7.00 without quotes": (NUMBERS, as_text("{}.00".format, quoted=False), False),
    "int32": (NUMBERS, as_type(pa.int32(), int), False),
    "int64": (NUMBERS, as_type(pa.int64(), int), False),
    "uint32": (NUMBERS, as_type(pa.uint32(), int), False),
    "uint64": (NUMBERS, as_type(pa.uint64(), int), False),
    "float": (NUMBERS, as_type(pa.float64(), int), False),
    "float, for one is missing": (NUMBERS, as_type(pa.float64(), int, gap=True), False),
    "decimal": (NUMBERS, as_type(pa.decimal128(21, 0), int), False),
    "decimal of money": (NUMBERS, as_type(pa.decimal128(21, 2), int), False),
    "string": (NUMBERS, as_type(pa.string()), False),
    "large string": (NUMBERS, as_type(pa.large_string()), False),
    "dictionary": (NUMBERS, as_type(pa.dictionary(pa.int32(), pa.string())), False),
    "feather": (NUMBERS, as_feather, False),
    "DuckDB's number": (NUMBERS, as_database("BIGINT", duckdb.connect), False),
    "DuckDB's text": (NUMBERS, as_database("VARCHAR", duckdb.connect), False),
    "SQLite's number": (NUMBERS, as_database("INTEGER", sqlite3.connect), False),
    "SQLite's text": (NUMBERS, as_database("TEXT", sqlite3.connect), False),
    "beyond 2^53, text": (BIG, as_text(same), False),
    "beyond 2^53, int64": (BIG, as_type(pa.int64(), int), False),
    "beyond 2^53, DuckDB": (BIG, as_database("BIGINT", duckdb.connect), False),
    "accents, latin-1": (TEXTS, as_latin, False),
    "NFD": (TEXTS, as_text(nfd), False),
    "NFD, Parquet": (TEXTS, as_type(pa.string(), nfd), False),
    "NFD, dictionary": (TEXTS, as_type(pa.dictionary(pa.int32(), pa.string()), nfd), False),
    "NFD, DuckDB": (list(map(nfd, TEXTS)), as_database("VARCHAR", duckdb.connect), False),
    "NFD, SQLite": (list(map(nfd, TEXTS)), as_database("TEXT", sqlite3.connect), False),
    "leading zeros": (NUMBERS, as_text("000{}".format), True),
    "+7": (NUMBERS, as_text("+{}".format), True),
    "7e0": (NUMBERS, as_text("{}e0".format), True),
    "thousands": (NUMBERS, as_text(lambda one: f"{int(one):,}"), True),
    "a zero-width space": (NUMBERS, as_text("{}\u200b".format), True),
    "a prefix": (NUMBERS, as_text("C{}".format), True),
    "beyond 2^53, 9e15": (BIG, as_text(lambda one: f"{Decimal(one):.17e}"), True),
    "upper case": (TEXTS, as_text(str.upper), True),
    "without accents": (TEXTS, as_text(lambda one: one.replace("ë", "e")), True),
    "another dash": (TEXTS, as_text(lambda one: one.replace("-", "\u2011")), True),
    "full-width digits": (TEXTS, as_text(lambda one: one.replace("k", "\uff4b")), True),
    "fresh pseudonyms": (TEXTS, as_text(lambda one: sha256(one.encode()).hexdigest()), True),
}
MAPPINGS: Final = {"accents, latin-1": ColumnMapping(encoding="latin-1")}


def kind(form: str) -> str:
    return "a database" if "DuckDB" in form or "SQLite" in form else form


@pytest.mark.parametrize("form", one_of_each(FORMS, kind))
def test_a_form_that_moves_people_is_noticed_and_no_other(form: str, tmp_path: Path) -> None:
    ids, write, moves = FORMS[form]
    before = [unicodedata.normalize("NFC", one) for one in ids]
    after = read_records([write(tmp_path, ids)], STUDY, mapping=MAPPINGS.get(form)).units.tolist()
    held = [holdout_mask(units, key=KEY, share=SHARE) for units in (before, after)]
    moved = int(np.count_nonzero(held[0] != held[1]))
    assert (moved > 0) is moves
    if moves:  # a fifth is held out: of each other side, four fifths
        assert abs(moved / UNITS - 2 * SHARE * (1 - SHARE)) < 0.05
    then = IdSketch.from_bytes(IdSketch.of(before, key=KEY).to_bytes())
    assert IdSketch.of(after, key=KEY).since(then).renamed is moves


def test_two_forms_of_one_customer_are_one_customer(tmp_path: Path) -> None:
    path = as_text(same)(tmp_path, [TEXTS[0], nfd(TEXTS[0]), TEXTS[1]])
    assert read_records([path], STUDY).units.tolist() == [TEXTS[1]]  # twice in it: counts as zero
