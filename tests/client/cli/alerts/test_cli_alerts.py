"""`institution alerts` and `institution alert show` as they are typed."""

import json
from typing import Any

import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.records.scored import Desk, desk_of
from tests.support.runs.finished import RUN


@pytest.fixture
def desk(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Desk:
    made = desk_of(coordinator, custody_of, capsys, units=300)
    arguments = ("--budget", "6", "--out", made.folder / "alerts.parquet")
    assert made("score", "--model", RUN, *arguments)[0] == 0
    return made


def listed(desk: Desk, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(desk("alerts", "--json", *arguments)[1])
    return found


def test_before_any_scoring_the_queue_says_how_one_comes(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = desk_of(coordinator, custody_of, capsys, units=150)("alerts")
    assert (status, "institution score" in out) == (0, True)


def test_the_queue_is_listed_by_rank(desk: Desk) -> None:
    status, out, _ = desk("alerts")
    rows = listed(desk)
    assert (status, len(rows)) == (0, 7)
    assert [row["rank"] for row in rows] == sorted(row["rank"] for row in rows)
    assert all(row["alert"] in out for row in rows)
    assert {row["party_role"] for row in rows} == {"unknown"}
    assert {row["state"] for row in rows} == {"new"}


def test_closed_alerts_leave_the_queue(desk: Desk) -> None:
    first = listed(desk)[0]["alert"]
    arguments = ("--disposition", "benign:other", "--role", "bystander")
    assert desk("feedback", first, *arguments)[0] == 0
    assert first not in {row["alert"] for row in listed(desk)}
    assert [row["alert"] for row in listed(desk, "--state", "closed")] == [first]
    assert len(listed(desk, "--state", "all")) == 7


def test_an_alert_is_shown_with_everything_that_a_person_needs(desk: Desk) -> None:
    row = listed(desk)[0]
    status, out, _ = desk("alert", "show", row["alert"][:6])
    assert status == 0
    for said in (
        row["unit"], "independent famil", "raises", "against", "adds up", "never the subject"
    ):  # fmt: skip
        assert said in " ".join(out.split())
    assert json.loads(desk("alert", "show", row["alert"], "--json")[1]) == row


def test_whoever_is_suppressed_later_is_shown_to_nobody(desk: Desk) -> None:
    row = listed(desk)[0]
    desk.home.suppression.write_text(f"unit,reason\n{row['unit']},court order\n")
    desk.home.suppression.chmod(0o600)
    assert row["unit"] not in desk("alerts")[1]
    for arguments in (
        ("alert", "show", row["alert"]),
        ("feedback", row["alert"], "--disposition", "file", "--role", "unknown"),
    ):
        status, out, err = desk(*arguments)
        assert (status, out) == (2, "")
        assert row["unit"] not in err


@pytest.mark.parametrize("text", ["ffff", "a", "not-an-id", "%"])
def test_an_unknown_alert_says_where_to_look(desk: Desk, text: str) -> None:
    status, _, err = desk("alert", "show", text)
    assert (status, "institution alerts" in err) == (2, True)
