"""An approval counts only if it verifies, for this study, under the present roster."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.keyed_coordinators import KeyedCoordinator

from fieldfare.server.store.rows import ApprovalRow
from fieldfare.server.studies.study_answers import (
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


def row(keyed: KeyedCoordinator, name: str = "bank-a", **changes: Any) -> ApprovalRow:
    return ApprovalRow(APPROVED, keyed.signed(name, keyed.approval(name, **changes)), NOW)


def text_of(keyed: KeyedCoordinator, found: ApprovalRow, name: str = "bank-a") -> str:
    heard = heard_of(keyed.roster(), keyed.study.id, {name: found})[name]
    assert heard.at == NOW
    assert heard.approval == ""
    return heard.text


def test_everybody_on_the_roster_is_named(keyed: KeyedCoordinator) -> None:
    refused = ApprovalRow("refused with wrong_roster", b"", NOW)
    heard = heard_of(
        keyed.roster(), keyed.study.id, {"bank-b": row(keyed, "bank-b"), "bank-c": refused}
    )
    assert list(heard) == ["bank-a", "bank-b", "bank-c"]
    assert (heard["bank-a"].text, heard["bank-a"].at) == (UNHEARD, None)
    assert heard["bank-b"].text == APPROVED
    assert heard["bank-b"].approval == keyed.approval("bank-b").hash
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
    keyed: KeyedCoordinator, changes: dict[str, Any], text: str
) -> None:
    assert text_of(keyed, row(keyed, **changes)) == text


def rejection(keyed: KeyedCoordinator, name: str = "bank-a", **changes: Any) -> ApprovalRow:
    fields: dict[str, Any] = {
        "study": keyed.study.id,
        "roster": keyed.roster().hash,
        "institution": name,
        "decision": "rejected",
        "reason": "the purpose is too wide",
    }
    body = Rejection(**(fields | changes))
    envelope = sign_envelope(body, "bank-a", IdentitySigner(keyed.keys["bank-a"]))
    return ApprovalRow("anything", envelope, NOW)


def test_a_rejection_is_shown_with_the_reason_that_was_signed(keyed: KeyedCoordinator) -> None:
    rows = {"bank-a": rejection(keyed)}
    (heard,) = (heard_of(keyed.roster(), keyed.study.id, rows)[name] for name in rows)
    assert heard.text == "rejected it: the purpose is too wide"
    assert (heard.no, heard.approval, heard.at) == (True, "", NOW)
    withdrawn = rejection(keyed, decision="withdrawn", reason="")
    assert text_of(keyed, withdrawn) == "withdrew its approval"


@pytest.mark.parametrize("changes", [{"study": "0" * 64}, {"institution": "bank-b"}])
def test_a_rejection_of_something_else_says_nothing(
    keyed: KeyedCoordinator, changes: dict[str, Any]
) -> None:
    assert text_of(keyed, rejection(keyed, **changes)) == OUTDATED
    heard = heard_of(keyed.roster(), keyed.study.id, {"bank-b": rejection(keyed)})["bank-b"]
    assert (heard.text, heard.no) == (OUTDATED, False)


def test_a_study_that_was_not_approved_yet_is_no_refusal(keyed: KeyedCoordinator) -> None:
    asked = ApprovalRow("expected an approval, found a refusal with unknown_study", b"", NOW)
    assert text_of(keyed, asked) == PENDING


def test_another_institutions_approval_does_not_count(keyed: KeyedCoordinator) -> None:
    assert text_of(keyed, row(keyed, "bank-b")) == ELSEWHERE


def test_an_approval_under_a_key_that_was_replaced_is_outdated(keyed: KeyedCoordinator) -> None:
    before = row(keyed)
    keyed.keys["bank-a"] = Ed25519PrivateKey.generate()
    assert text_of(keyed, before) == OUTDATED


def test_who_left_the_roster_is_said(keyed: KeyedCoordinator) -> None:
    before = row(keyed)
    del keyed.keys["bank-a"]
    assert text_of(keyed, before) == OFF_ROSTER
    assert heard_of(None, keyed.study.id, {"bank-a": before})["bank-a"].text == OFF_ROSTER
