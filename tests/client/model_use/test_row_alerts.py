"""Alerts from models of texts and vectors, as they are typed: one family, no words kept."""

import json

import pyarrow.parquet as pq
import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.records.scored import Analyst
from tests.support.records.scored_rows import (
    kept_bytes,
    network_analyst,
    scored,
    text_analyst,
    vector_analyst,
)
from tests.support.runs.finished import RUN


@pytest.fixture
def texts(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return text_analyst(coordinator, custody_of, capsys)


@pytest.fixture
def vectors(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return vector_analyst(coordinator, custody_of, capsys)


def test_texts_become_alerts_whose_one_reason_adds_up(texts: Analyst) -> None:
    alerts = scored(texts)
    assert [alert["selected"] for alert in alerts].count("below_line") == 1
    assert alerts[0]["unit"] == "c2"
    assert alerts[0]["probability"] is not None
    for alert in alerts:  # nothing published says when a text is a sign
        assert (alert["families"], alert["family_names"], alert["evidence"]) == (0, [], [])
        assert {one["family"] for one in alert["reasons"]} <= {"TEXT"}
    everyone = pq.read_table(texts.folder / "alerts.parquet").to_pylist()
    assert [row["rank"] for row in everyone] == list(range(1, 405))
    for row in (*everyone, *alerts):
        (reason,) = (*row["reasons"], *row["counter_evidence"]) or [{"contribution": 0.0}]
        assert row["base"] + reason["contribution"] + row["others"] == row["score"]
    assert everyone[0]["reasons"][0]["level"] == "one text, not kept"


def test_harm_rule_6_no_word_of_any_text_is_kept_or_leaves_in_a_report(texts: Analyst) -> None:
    alert = scored(texts)[0]["alert"]
    for user in ("escalate", "file"):
        arguments = ("--disposition", user, "--role", "controller")
        assert texts("act", alert, "decide", *arguments)[0] == 0
    report = texts.folder / "report.xml"
    assert texts("export", alert, "--format", "goaml", "--out", report)[0] == 0
    draft = report.read_text()
    assert "no indicator" in draft
    assert "independent families" not in draft
    # The file is compressed: what it says is read, not its bytes.
    table = pq.read_table(texts.folder / "alerts.parquet")
    kept = kept_bytes(texts) + report.read_bytes()
    kept += f"{table.to_pylist()} {table.schema.metadata}".encode()
    # Words that no hash, key or probability holds by chance.
    for word in ("cash", "FREE", "free", "morning", "0900123456", "note: "):
        assert word.encode() not in kept


def test_the_suppressed_are_no_alert_and_earlier_values_are_refused(texts: Analyst) -> None:
    path = texts.home.suppression
    path.write_text("unit,reason\nc2,in recovery\n")
    path.chmod(0o600)
    assert "c2" not in {alert["unit"] for alert in scored(texts)}
    units = pq.read_table(texts.folder / "alerts.parquet").column("unit").to_pylist()
    assert len(units) == 403
    out = texts.folder / "b.parquet"
    status, _, errors = texts("score", "--model", RUN, "--out", out, "--before", out)
    assert (status, "leave --before out" in errors) == (2, True)
    assert not out.exists()


def test_texts_are_tuned_and_compared_here(texts: Analyst) -> None:
    status, said, errors = texts("tune", "--model", RUN)
    assert (status, "tuned here (stack at home)" in said) == (0, True), errors
    status, said, errors = texts("evaluate", "--model", RUN)
    assert status == 0, errors
    assert "stack at home, kept since" in said
    alert = scored(texts, "--tuned")[0]
    assert alert["tuned"]
    status, said, _ = texts("alerts", alert["alert"], "--words")
    assert (status, "changed" in said) == (0, False)


def test_vectors_become_alerts_that_say_what_they_are_not(vectors: Analyst) -> None:
    alert = scored(vectors)[0]
    assert alert["unit"] == "c17"
    assert (alert["families"], alert["reasons"][0]["family"]) == (0, "VECTOR")
    status, card, _ = vectors("alerts", alert["alert"])
    assert (status, "no reasons that people can read" in " ".join(card.split())) == (0, True)
    status, _, errors = vectors("alerts", alert["alert"], "--words")
    assert (status, "expected a model of kind text" in errors) == (2, True)


@pytest.mark.promises
def test_a_networks_head_is_tuned_here_and_scores_on_request(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> None:
    analyst = network_analyst(coordinator, custody_of, capsys)
    status, said, errors = analyst("tune", "--model", RUN)
    assert (status, "tuned here (own head)" in said) == (0, True), errors
    found = json.loads(analyst("evaluate", "--model", RUN, "--json")[1])
    auroc = {name: one["auroc"]["value"] for name, one in found["qualities"].items()}
    assert auroc["used at home"] > auroc["shared"] + 0.03
    assert found["tuning"].startswith("own head, kept since")
    assert all(alert["tuned"] for alert in scored(analyst, "--tuned"))
