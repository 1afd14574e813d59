"""`institution score` as it is typed."""

import json
import stat

import pyarrow.parquet as pq
import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.records.scored import Analyst, analyst_of, customers, write
from tests.support.runs.finished import RUN

from fieldfare.client.records.health import read_health


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return analyst_of(coordinator, custody_of, capsys)


def test_everyone_is_ranked_and_the_screen_says_what_it_rests_on(analyst: Analyst) -> None:
    out = analyst.folder / "alerts.parquet"
    status, said, _ = analyst("score", "--model", RUN, "--out", out)
    assert status == 0
    for text in (
        "scored, run run-1", "2,000 ranked", "20 from the top, 1 at random", "21 new",
        "positives among", "institution alerts",
    ):  # fmt: skip
        assert text in said
    assert "n0" not in said.replace(str(out), "")  # no unit's id
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    (kept,) = read_health(analyst.home.health).studies
    assert (kept.now.rows, len(kept.now.columns)) == (2_000, len(analyst.study.features))
    assert {one.rows for one in kept.now.columns} == {2_000}
    assert "n0" not in analyst.home.health.read_text()


def test_whom_the_records_already_label_is_no_alert_unless_asked_for(analyst: Analyst) -> None:
    known = sum(customers(2000)["reported"])
    out = analyst.folder / "a.parquet"
    _, said, _ = analyst("score", "--model", RUN, "--budget", "30", "--out", out)
    assert f"{known} whom the records already label positive: ranked and marked, no alerts" in said
    rows = pq.read_table(out).to_pylist()
    assert sum(row["label"] == 1 for row in rows) == known
    assert {row["label"] for row in rows if row["selected"] != "no"} == {0}
    assert {row["label"] for row in json.loads(analyst("alerts", "--json")[1])} == {0}
    more = ("--known", "--budget", "30", "--out", analyst.folder / "b.parquet")
    _, said, _ = analyst("score", "--model", RUN, *more)
    alerts = json.loads(analyst("alerts", "--json")[1])
    again = [row for row in alerts if row["label"] == 1]
    assert again
    assert f"ranked and marked, {len(again)} of the alerts" in said
    _, card, _ = analyst("alerts", again[0]["alert"])
    assert "the records already label this unit positive" in " ".join(card.split())


def test_todays_customers_need_no_labels(analyst: Analyst) -> None:
    path = write(analyst.folder / "today.parquet", customers(100, seed=4), without=["reported"])
    out = analyst.folder / "alerts.parquet"
    status, said, _ = analyst(
        "score", "--model", RUN, "--records", path, "--budget", "5", "--out", out
    )
    assert (status, "5 from the top" in said) == (0, True)
    assert "hold-outs said, for here: the records have no labels" in said
    assert not analyst.home.health.exists()  # other files are no time of the own records


def test_wrong_input_says_what_to_do(analyst: Analyst) -> None:
    out = analyst.folder / "alerts.parquet"
    rows = [
        (("score", "--model", "run-x", "--out", out), "institution models"),
        (("score", "--model", RUN, "--out", out.with_suffix(".csv")), ".parquet"),
        (("score", "--model", RUN, "--out", out.parent / "no" / "a.parquet"), "folder"),
        (("score", "--model", RUN, "--out", out, "--budget", "0"), "budget"),
        (("score", "--model", RUN, "--out", out, "--records", out.parent / "no.csv"), "no.csv"),
        (("score", "--model", RUN, "--out", out, "--mapping", out), "--mapping"),
        (("score", "--out", out), "--model"),
    ]
    for arguments, said in rows:
        status, _, err = analyst(*arguments)
        assert status == 2, err
        assert said in err
        assert not out.exists()


def test_what_no_harmless_reading_could_see_is_said(analyst: Analyst) -> None:
    status, said, _ = analyst("score", "--model", "run-1", "--out", analyst.folder / "bare.parquet")
    assert status == 0
    assert "the records lack R21_kept, R38_share, R17_kinds, R25_ratio, R39_kept, R21" in said
    rows = customers(2000)
    rows |= {"R39_kept": [0.5] * 2000, "R21": [0.1] * 2000}
    path = write(analyst.folder / "whole.parquet", rows)
    out = analyst.folder / "all.parquet"
    _, said, _ = analyst("score", "--model", "run-1", "--records", path, "--out", out)
    assert "2,000 come after all others: a harmless reading fits them" in said
    assert "not every harmless reading is tried: the records lack R21_kept" in said
