"""The words of an alert's text: read when a person asks, exact, kept nowhere."""

import json

import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.homes.journals import logged_text
from tests.support.records.scored import Analyst
from tests.support.records.scored_rows import kept_bytes, scored, text_analyst

from fieldfare.client.cli import alerts as cli_alerts


@pytest.fixture
def texts(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return text_analyst(coordinator, custody_of, capsys)


def test_a_persons_own_words_are_shown_on_request_and_add_up(texts: Analyst) -> None:
    alert = next(one for one in scored(texts) if one["unit"] == "c2")
    status, card, _ = texts("alerts", alert["alert"])
    assert (status, "--words" in card, "none; not enough" in " ".join(card.split())) == (
        0,
        True,
        True,
    )
    assert "cash" not in card
    status, said, _ = texts("alerts", alert["alert"], "--words")
    assert status == 0
    assert "word        'cash'" in said
    assert "changed" not in said
    assert f"= {alert['score']:+.3f}" in said
    assert b"cash" not in kept_bytes(texts)


def test_the_log_says_who_read_a_persons_words_and_not_whose(
    texts: Analyst, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = next(one for one in scored(texts) if one["unit"] == "c2")
    folder = texts.home.log_folder
    before = logged_text(folder)
    assert texts("alerts", alert["alert"])[0] == 0
    assert logged_text(folder) == before
    monkeypatch.setattr(cli_alerts, "os_user", lambda: "ben")
    assert texts("alerts", alert["alert"], "--words")[0] == 0
    entry = json.loads(logged_text(folder).removeprefix(before))
    assert (entry["event"], entry["actor"]) == ("words read", "ben")
    assert entry["details"] == {"study": alert["study"], "run": alert["run"]}


def test_words_need_the_text_that_was_scored(texts: Analyst) -> None:
    alert = next(one for one in scored(texts) if one["unit"] == "c2")
    other = texts.folder / "other.csv"
    other.write_text("customer,note\nc2,nothing here\n")
    status, said, _ = texts("alerts", alert["alert"], "--words", "--records", str(other))
    assert (status, "has changed since" in said) == (0, True)
    other.write_text("customer,note\nzz,nothing here\n")
    status, _, errors = texts("alerts", alert["alert"], "--words", "--records", str(other))
    assert (status, "--records" in errors) == (2, True)
