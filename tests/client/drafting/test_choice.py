"""Every usual kind of column becomes the right feature, or is left out for a reason."""

from pathlib import Path

import numpy as np
import pytest

from fieldfare.client.drafting.choice import Choice, choose, names_an_id
from fieldfare.client.drafting.profile import profile_sample
from fieldfare.client.records.sources.source import table_at
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature

ROWS = 400
RANDOM = np.random.default_rng(4)


def chosen(tmp_path: Path, name: str, values: list[str]) -> Choice:
    path = tmp_path / "r.csv"
    lines = [f'"{value}",1' for value in values]
    path.write_text("\n".join([f'"{name}",label', *lines]) + "\n")
    return choose(profile_sample(table_at(path).parts, "label").columns[name])


def strings(values: np.ndarray) -> list[str]:
    return [str(value) for value in values.tolist()]


LEFT_OUT = {
    "lists of levels": ("months", ["2025-01;2025-02", "2025-01"] * 200, "several values in a cell"),
    "no plain words": (
        "kind",
        ["a", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAf"] * 200,
        "no plain word",
    ),
    "all different words": ("ref", [f"x{i}" for i in range(ROWS)], "mostly different texts"),
    "ids by name": ("customer_id", strings(RANDOM.permutation(9999)[:ROWS]), "an identifier"),
    "ids, repeated": ("branchId", strings(RANDOM.integers(0, 300, ROWS)), "mostly"),
    "row number": ("unnamed_1", strings(np.arange(5, ROWS + 5)), "a running number"),
    "constant word": ("country", ["DE"] * ROWS, "the same value"),
    "constant number": ("version", ["1.0"] * ROWS, "the same value"),
    "empty": ("notes", ["", "?", "NA", "nan"] * 100, "no value"),
    "protected": ("customer_age", strings(RANDOM.integers(18, 90, ROWS)), "harm rule 4"),
    "date": ("opened", [f"2024-01-{d:02d}" for d in range(1, 29)] * 9, "a date"),
    "written date": ("opened", [f"{d} Jan 2024" for d in range(1, 29)] * 9, "a date"),
    "date and time": ("at", [f"3/{d}/24 08:15" for d in range(1, 29)] * 9, "a date"),
    "time": (
        "at",
        [f"08:{m:02d}" for m in range(60)] * 3,
        "a date or a time",
    ),
    "date as number": ("day", [f"202401{d:02d}" for d in range(1, 29)] * 9, "a date"),
    "sentences": ("memo", ["a long story that goes on and on " * 5, "short"] * 50, "free text"),
    "comma": ("paid", [f"{i}.0{i},50" for i in range(ROWS)], "numbers with a comma"),
    "currency": ("paid", [f"$1,{i:03d}.00" for i in range(ROWS)], "numbers with a comma"),
    "unit": ("paid", [f"{i} EUR" for i in range(99)] * 4, "numbers with a comma, a unit"),
    "share": ("paid", [f"{i}.5%" for i in range(99)] * 4, "a unit or a sign"),
    "long tail": ("shop", [f"s{i}" for i in range(900)] * 2, "too many different values"),
    "long name": ("n" * 129, strings(np.arange(50) % 7), "a name of more than"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_left_out(tmp_path: Path, case: str) -> None:
    name, values, reason = LEFT_OUT[case]
    choice = chosen(tmp_path, name, values)
    assert choice.feature is None
    assert reason in choice.reason
    assert "\n" not in choice.reason


NUMERIC = {
    "amounts": strings(RANDOM.lognormal(3, 1, ROWS).round(2)),
    "whole": strings(RANDOM.integers(0, 5000, ROWS)),
    "two values": ["0", "1"] * 200,
    "truth values": ["True", "False"] * 200,
    "a year": strings(RANDOM.integers(1990, 2024, ROWS)),
    "with gaps": ["", "?", "1.5", "2.5", "7"] * 80,
}


@pytest.mark.parametrize("case", NUMERIC)
def test_numeric(tmp_path: Path, case: str) -> None:
    choice = chosen(tmp_path, "x", NUMERIC[case])
    assert isinstance(choice.feature, NumericFeature)
    assert choice.odd_tokens == ()


def test_a_few_odd_tokens_among_numbers_are_missing(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "x", [*strings(np.arange(500) * 1.5), "n/k", "inf"])
    assert isinstance(choice.feature, NumericFeature)
    assert choice.odd_tokens == ("inf", "n/k")


def test_many_odd_tokens_make_a_category(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "x", ["1", "2", "A", "B"] * 100)
    assert choice.feature == CategoricalFeature(
        kind="categorical", name="x", levels=("1", "2", "A", "B")
    )


def test_levels_come_by_frequency_and_rare_ones_fall_to_other(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "x", ["b"] * 600 + ["a"] * 300 + ["c"] * 99 + ["rare"])
    assert isinstance(choice.feature, CategoricalFeature)
    assert choice.feature.levels == ("b", "a", "c")


def test_at_most_64_levels(tmp_path: Path) -> None:
    values = [f"s{i}" for i in range(100) for _ in range(5)]
    choice = chosen(tmp_path, "x", values)
    assert isinstance(choice.feature, CategoricalFeature)
    assert len(choice.feature.levels) == 64


def test_few_ids_are_a_category(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "branch_id", strings(RANDOM.integers(100, 130, ROWS)))
    assert isinstance(choice.feature, CategoricalFeature)
    assert set(choice.feature.levels) == {str(branch) for branch in range(100, 130)}


def test_a_single_value_beside_missing_ones_says_something(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "x", ["1.0", ""] * 100)
    assert choice.feature == CategoricalFeature(kind="categorical", name="x", levels=("1",))


def test_names_of_ids() -> None:
    assert all(map(names_an_id, ["id", "ID", "branch_id", "branchId", "branch-id", "iban"]))
    assert not any(map(names_an_id, ["paid", "idle", "id_count", "x", ""]))
