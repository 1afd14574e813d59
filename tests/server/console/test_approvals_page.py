"""Approvals in a browser: each study by each member, what counts, what a run would lack."""

from datetime import UTC, datetime
from html import unescape

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.keyed_coordinators import KeyedCoordinator

from fieldfare.server.studies.proposing import propose
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.protocol.messages import IdentitySigner, Rejection, sign_envelope

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
REASON = "<script>alert(1)</script>{{ 7 * 7 }}"


def rejected(keyed: KeyedCoordinator, name: str, reason: str) -> None:
    body = Rejection(
        study=keyed.study.id,
        roster=keyed.roster().hash,
        institution=name,
        decision="rejected",
        reason=reason,
    )
    envelope = sign_envelope(body, name, IdentitySigner(keyed.keys[name]))
    with keyed.store() as store:
        store.put_approval(keyed.study.id, name, "said no", envelope, NOW)


def test_who_says_what(keyed: KeyedCoordinator, watching: Browser) -> None:
    assert "No study has been proposed yet" in watching.shown("/approvals")
    found = propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve("bank-a")
    rejected(keyed, "bank-b", "the purpose is too wide")
    matrix = " ".join(watching.shown("/approvals").split())
    assert f"{found.short} payments 1 of 3 approved rejected not heard" in matrix
    text = " ".join(watching.shown(f"/approvals/{found.id}").split())
    assert f"bank-a approved {keyed.approval('bank-a').hash} " in text
    assert "bank-b rejected it: the purpose is too wide none 2025-06-01 12:00:00 UTC" in text
    assert "bank-c not heard yet none never" in text
    assert "expected 3 or more that count, found 1" in text


def test_with_all_approvals_a_run_can_begin(keyed: KeyedCoordinator, watching: Browser) -> None:
    found = propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve()
    assert "3 of 3 or more" in watching.shown(f"/approvals/{found.id}")
    # An approval under the roster before counts no more, and is not shown as one.
    keyed.publish(2)
    text = watching.shown(f"/approvals/{found.id}")
    assert "0 of 3 or more" in text
    assert text.count("has to approve again") == 6  # each member, there and in what a run lacks
    assert watching.shown("/approvals").count("not approved") == 3


def test_only_who_steers_is_led_to_acts(
    keyed: KeyedCoordinator, watching: Browser, console: ConsoleBench
) -> None:
    found = propose(keyed.home, keyed.study, keyed.signer)
    examiner = Browser(coordinator_desk(keyed.home, console))
    console.log_in(examiner, console.enrolled("ella", ConsoleRole.EXAMINER))
    with keyed.store() as store:
        store.create("run-1", found.id, NOW)
    for path, cost, acts in (
        (f"/approvals/{found.id}", "What a run costs", ("start one", "Ask the institutions again")),
        ("/runs/run-1", "What an attempt costs", ("stop or resume it",)),
    ):
        reads, does = examiner.shown(path), watching.shown(path)
        assert cost in reads
        assert [(one in reads, one in does) for one in acts] == [(False, True)] * len(acts)


def test_no_reason_of_a_member_runs(keyed: KeyedCoordinator, watching: Browser) -> None:
    found = propose(keyed.home, keyed.study, keyed.signer)
    rejected(keyed, "bank-b", REASON)
    text = watching.get(f"/approvals/{found.id}").text
    assert "<script>alert" not in text
    assert f"rejected it: {REASON}" in unescape(text)


@pytest.mark.parametrize("study", ["0" * 64, "..%2f..%2fkeys", "%3Cscript%3E", "{{7*7}}", "abc"])
def test_odd_ids_are_errors_that_are_pages(watching: Browser, study: str) -> None:
    answer = watching.get(f"/approvals/{study}")
    assert answer.status_code in {400, 404}
    assert "<h1>" in answer.text
    assert "<script>" not in answer.text
