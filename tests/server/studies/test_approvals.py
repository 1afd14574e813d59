"""An approval counts only if it verifies, for this study, under the present roster."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.desks import TestDesk

from fieldfare.server.store.rows import ApprovalRow
from fieldfare.server.studies.run_view import (
    APPROVED,
    ELSEWHERE,
    OFF_ROSTER,
    OUTDATED,
    PENDING,
    UNHEARD,
    heard_of,
)
from fieldfare.shared.protocol.messages import IdentitySigner, Rejection, sign_envelope

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)


def row(desk: TestDesk, name: str = "bank-a", **changes: Any) -> ApprovalRow:
    return ApprovalRow(APPROVED, desk.signed(name, desk.approval(name, **changes)), NOW)


def text_of(desk: TestDesk, found: ApprovalRow, name: str = "bank-a") -> str:
    heard = heard_of(desk.roster(), desk.study.id, {name: found})[name]
    assert heard.at == NOW
    assert heard.approval == ""
    return heard.text


def test_everybody_on_the_roster_is_named(desk: TestDesk) -> None:
    refused = ApprovalRow("refused with wrong_roster", b"", NOW)
    heard = heard_of(
        desk.roster(), desk.study.id, {"bank-b": row(desk, "bank-b"), "bank-c": refused}
    )
    assert list(heard) == ["bank-a", "bank-b", "bank-c"]
    assert (heard["bank-a"].text, heard["bank-a"].at) == (UNHEARD, None)
    assert heard["bank-b"].text == APPROVED
    assert heard["bank-b"].approval == desk.approval("bank-b").hash
    assert (heard["bank-c"].text, heard["bank-c"].approval) == (refused.text, "")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"roster": "0" * 64}, OUTDATED),
        ({"study": "0" * 64}, ELSEWHERE),
        ({"institution": "bank-b"}, ELSEWHERE),
    ],
)
def test_an_approval_of_something_else_does_not_count(
    desk: TestDesk, changes: dict[str, Any], text: str
) -> None:
    assert text_of(desk, row(desk, **changes)) == text


def rejection(desk: TestDesk, name: str = "bank-a", **changes: Any) -> ApprovalRow:
    fields: dict[str, Any] = {
        "study": desk.study.id,
        "roster": desk.roster().hash,
        "institution": name,
        "decision": "rejected",
        "reason": "the purpose is too wide",
    }
    body = Rejection(**(fields | changes))
    envelope = sign_envelope(body, "bank-a", IdentitySigner(desk.keys["bank-a"]))
    return ApprovalRow("anything", envelope, NOW)


def test_a_rejection_is_shown_with_the_reason_that_was_signed(desk: TestDesk) -> None:
    rows = {"bank-a": rejection(desk)}
    (heard,) = (heard_of(desk.roster(), desk.study.id, rows)[name] for name in rows)
    assert heard.text == "rejected it: the purpose is too wide"
    assert (heard.no, heard.approval, heard.at) == (True, "", NOW)
    withdrawn = rejection(desk, decision="withdrawn", reason="")
    assert text_of(desk, withdrawn) == "withdrew its approval"


@pytest.mark.parametrize("changes", [{"study": "0" * 64}, {"institution": "bank-b"}])
def test_a_rejection_of_something_else_says_nothing(
    desk: TestDesk, changes: dict[str, Any]
) -> None:
    assert text_of(desk, rejection(desk, **changes)) == OUTDATED
    heard = heard_of(desk.roster(), desk.study.id, {"bank-b": rejection(desk)})["bank-b"]
    assert (heard.text, heard.no) == (OUTDATED, False)


def test_a_study_that_was_not_approved_yet_is_no_refusal(desk: TestDesk) -> None:
    asked = ApprovalRow("expected an approval, found a refusal with unknown_study", b"", NOW)
    assert text_of(desk, asked) == PENDING


def test_another_institutions_approval_does_not_count(desk: TestDesk) -> None:
    assert text_of(desk, row(desk, "bank-b")) == ELSEWHERE


def test_an_approval_under_a_key_that_was_replaced_is_outdated(desk: TestDesk) -> None:
    before = row(desk)
    desk.keys["bank-a"] = Ed25519PrivateKey.generate()
    assert text_of(desk, before) == OUTDATED


def test_who_left_the_roster_is_said(desk: TestDesk) -> None:
    before = row(desk)
    del desk.keys["bank-a"]
    assert text_of(desk, before) == OFF_ROSTER
    assert heard_of(None, desk.study.id, {"bank-a": before})["bank-a"].text == OFF_ROSTER
