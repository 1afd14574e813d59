"""`institution tune` and `institution evaluate` as they are typed."""

import json

import pyarrow.parquet as pq
import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.records.scored import Analyst, analyst_of, customers, quick_grid, write

from fieldfare.client.home.models import kept_models, read_joining
from fieldfare.shared.joining.page import join_page


@pytest.fixture
def analyst(
    coordinator: Coordinator,
    custody_of: OpenCustody,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Analyst:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)
    return analyst_of(coordinator, custody_of, capsys)


def test_a_model_is_tuned_used_and_compared(analyst: Analyst) -> None:
    status, out, _ = analyst("tune", "--model", "run-1")
    assert (status, "tuned here (stack at home)" in out) == (0, True)
    status, out, _ = analyst("evaluate", "--model", "run-1", "--by", "group")
    assert status == 0
    for said in (
        *("shared", "used at home", "own best", "stack at home, kept since"),
        *("group", "90 %", "keep them", "released cut by f1, score"),
    ):  # fmt: skip
        assert said in " ".join(out.split())
    path = analyst.folder / "a.parquet"
    status, out, _ = analyst("score", "--model", "run-1", "--tuned", "--out", path)
    assert (status, "tuned here" in out) == (0, True)
    assert {row["tuned"] for row in json.loads(analyst("alerts", "--json")[1])} == {True}
    assert pq.read_table(path).num_rows == 2000


@pytest.mark.promises
def test_a_comparison_is_there_for_programs_too(analyst: Analyst) -> None:
    status, out, _ = analyst("evaluate", "--model", "run-1", "--budget", "50", "--json")
    found = json.loads(out)
    assert (status, set(found["qualities"])) == (0, {"shared", "used at home", "own best"})
    assert set(found["cuts"]) == {"f1", "budget"}
    assert found["tuning"] == "stack at home, made for this comparison"


@pytest.fixture
def _few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldfare.client.own_model.own_customers.SHARES", (1.0,))
    monkeypatch.setattr("fieldfare.client.own_model.own_customers.NEWCOMER", (0,))


@pytest.mark.promises
@pytest.mark.usefixtures("_few_questions")
def test_own_records_say_whether_to_join_as_far_as_they_can(analyst: Analyst) -> None:
    path = analyst.folder / "join.html"
    asked = ("evaluate", "--model", "run-1", "--page", path, "--scenario-column", "group")
    status, out, _ = analyst(*asked, "--minutes", "45")
    text = " ".join(out.split())
    assert status == 0
    for said in (
        "Should we join?", "Own customers, with fewer labels", "A newcomer", "At 45 minutes an",
        "A scenario never seen here", "the delivered model learned from yours too",
        "Roles that are rare here need a column", "cannot know how the others fare",
    ):  # fmt: skip
        assert said in text, said
    assert path.stat().st_mode & 0o777 == 0o600
    page = path.read_text("utf-8")
    assert "stays with you" in page
    assert "n00001" not in page  # no unit stands in it
    kept = read_joining(kept_models(analyst.home)[0])
    assert kept is not None
    assert join_page(kept.figures) == page  # what a console shows later
    log = b"".join(one.read_bytes() for one in analyst.home.log_folder.iterdir())
    assert b"join" not in log
    status, _, err = analyst(*asked)
    assert (status, "nothing is overwritten" in err) == (2, True)


@pytest.mark.promises
@pytest.mark.usefixtures("_few_questions")
def test_the_page_is_the_same_again_and_there_for_programs(analyst: Analyst) -> None:
    asked = ("evaluate", "--model", "run-1", "--json", "--page")
    first, second = (json.loads(analyst(*asked, analyst.folder / n)[1]) for n in ("a", "b"))
    assert first["joining"] == second["joining"]
    assert first["joining"]["place"] == "institution"
    assert [row["labels"] for row in first["joining"]["labels"]] == [1.0]
    assert (analyst.folder / "a").read_bytes() == (analyst.folder / "b").read_bytes()


def test_scaled_alone_is_two_numbers(analyst: Analyst) -> None:
    status, out, _ = analyst("tune", "--model", "run-1", "--no-stack")
    assert (status, "tuned here (scaled)" in out) == (0, True)


def test_wrong_input_says_what_to_do(analyst: Analyst) -> None:
    few = write(analyst.folder / "few.csv", customers(40))
    rows = [
        (("tune", "--model", "run-x"), "institution models"),
        (("tune", "--model", "run-1", "--no-stack", "--records", few), "20 training labels"),
        (("evaluate", "--model", "run-1", "--records", few), "5 held-out labels"),
        (("evaluate", "--model", "run-1", "--by", "gender-that-is-not-there"), "gender-that"),
        (("score", "--model", "run-1", "--tuned", "--out", few.parent / "a.parquet"), "tune"),
    ]
    for arguments, said in rows:
        status, _, err = analyst(*arguments)
        assert (status, said in err) == (2, True), err


def test_with_few_own_cases_the_shared_model_is_used_alone(analyst: Analyst) -> None:
    few = write(analyst.folder / "few.csv", customers(45))  # 5 cases, whoever is held out
    status, out, _ = analyst("tune", "--model", "run-1", "--records", few)
    assert (status, "shared model alone" in out, "fewer than 6" in out) == (0, True, True)
    path = analyst.folder / "a.parquet"
    assert analyst("score", "--model", "run-1", "--tuned", "--out", path)[0] == 0
    plain = analyst.folder / "b.parquet"
    assert analyst("score", "--model", "run-1", "--out", plain)[0] == 0
    scores = [pq.read_table(one, columns=["unit", "score"]) for one in (path, plain)]
    assert scores[0].equals(scores[1])


def test_reasons_of_a_stack_add_up_in_the_file_to_the_last_bit(analyst: Analyst) -> None:
    assert analyst("tune", "--model", "run-1")[0] == 0
    path = analyst.folder / "a.parquet"
    assert analyst("score", "--model", "run-1", "--tuned", "--out", path)[0] == 0
    for row in pq.read_table(path).to_pylist():
        parts = [one["contribution"] for one in (*row["reasons"], *row["counter_evidence"])]
        assert row["base"] + sum(parts) + row["others"] == row["score"]
        assert row["others"] + sum(reversed(parts)) + row["base"] == row["score"]
