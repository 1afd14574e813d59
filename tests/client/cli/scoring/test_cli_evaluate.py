"""`institution tune` and `institution evaluate` as they are typed."""

import json

import pyarrow.parquet as pq
import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.records.scored import Analyst, analyst_of, customers, write


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return analyst_of(coordinator, custody_of, capsys)


def test_a_model_is_tuned_used_and_compared(analyst: Analyst) -> None:
    status, out, _ = analyst("tune", "--model", "run-1")
    assert (status, "tuned here (corrected)" in out) == (0, True)
    status, out, _ = analyst("evaluate", "--model", "run-1", "--by", "group")
    assert status == 0
    for said in (
        "shared", "tuned here", "own only", "corrected, kept since", "group", "90 %", "keep them"
    ):  # fmt: skip
        assert said in " ".join(out.split())
    path = analyst.folder / "a.parquet"
    status, out, _ = analyst("score", "--model", "run-1", "--tuned", "--out", path)
    assert (status, "tuned here" in out) == (0, True)
    assert {row["tuned"] for row in json.loads(analyst("alerts", "--json")[1])} == {True}
    assert pq.read_table(path).num_rows == 2000


def test_a_comparison_is_there_for_programs_too(analyst: Analyst) -> None:
    status, out, _ = analyst("evaluate", "--model", "run-1", "--budget", "50", "--json")
    found = json.loads(out)
    assert (status, set(found["qualities"])) == (0, {"shared", "tuned here", "own only"})
    assert found["tuning"] == "corrected, made for this comparison"


def test_scaled_alone_is_two_numbers(analyst: Analyst) -> None:
    status, out, _ = analyst("tune", "--model", "run-1", "--no-correction")
    assert (status, "tuned here (scaled)" in out) == (0, True)


def test_wrong_input_says_what_to_do(analyst: Analyst) -> None:
    few = write(analyst.folder / "few.csv", customers(40))
    rows = [
        (("tune", "--model", "run-x"), "institution models"),
        (("tune", "--model", "run-1", "--records", few), "20 training labels"),
        (("evaluate", "--model", "run-1", "--records", few), "20 training labels"),
        (("evaluate", "--model", "run-1", "--by", "gender-that-is-not-there"), "gender-that"),
        (("score", "--model", "run-1", "--tuned", "--out", few.parent / "a.parquet"), "tune"),
    ]
    for arguments, said in rows:
        status, _, err = analyst(*arguments)
        assert (status, said in err) == (2, True), err
