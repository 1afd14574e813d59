"""The words of an alert's text: read when a person asks, exact, kept nowhere."""

import pytest
from tests.homes import Hub, OpenCustody, custody_of, hub
from tests.scored import Desk
from tests.scored_rows import kept_bytes, scored, text_desk

__all__ = ["custody_of", "hub"]


@pytest.fixture
def texts(hub: Hub, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]) -> Desk:
    return text_desk(hub, custody_of, capsys)


def test_a_persons_own_words_are_shown_on_request_and_add_up(texts: Desk) -> None:
    alert = next(one for one in scored(texts) if one["unit"] == "c2")
    status, card, _ = texts("alert", "show", alert["alert"])
    assert (status, "--words" in card, "one is not enough" in card) == (0, True, True)
    assert "cash" not in card
    status, said, _ = texts("alert", "show", alert["alert"], "--words")
    assert status == 0
    assert "word        'cash'" in said
    assert "changed" not in said
    assert f"= {alert['score']:+.3f}" in said
    assert b"cash" not in kept_bytes(texts)


def test_words_need_the_text_that_was_scored(texts: Desk) -> None:
    alert = next(one for one in scored(texts) if one["unit"] == "c2")
    other = texts.folder / "other.csv"
    other.write_text("customer,note\nc2,nothing here\n")
    status, said, _ = texts("alert", "show", alert["alert"], "--words", "--records", str(other))
    assert (status, "has changed since" in said) == (0, True)
    other.write_text("customer,note\nzz,nothing here\n")
    status, _, errors = texts("alert", "show", alert["alert"], "--words", "--records", str(other))
    assert (status, "--records" in errors) == (2, True)
