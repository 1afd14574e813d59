"""The screen as a person sees it, 80 columns wide."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from fieldfare.client.approvals.approval_status import ApprovalStatus
from fieldfare.client.journal.entries import Mark
from fieldfare.client.ledger.budget import Position, to_picomu2
from fieldfare.client.node.state import LinkState, NodeState
from fieldfare.client.oversight.ledger_report import LedgerReport, LimitUse
from fieldfare.client.oversight.overview import NodeLine, Overview, StudyLine, UnreadPart
from fieldfare.client.oversight.overview_screen import overview_lines
from fieldfare.client.wire.admin_calls import CustodianStatus, ReleaseStatus, StudyStatus
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.terminal.texts import NARROW

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)
ONE, TWO = "3b24" + "a" * 60, "77fe" + "b" * 60
ROSTER: Final = Roster(
    version=2,
    multiplicity=1,
    coordinator="d" * 64,
    members=tuple(Member(id=f"bank-{name}", key=name * 64) for name in "abc"),
)
CUSTODIAN: Final = CustodianStatus(
    institution="bank-a",
    started="2025-06-01T09:55:00+00:00",
    process=4242,
    busy=False,
    trouble="",
    roster=2,
    roster_hash="d" * 64,
    policy="e" * 64,
    identity="f" * 64,
    studies=[
        StudyStatus(id=ONE, serving=True, runs=["monday"]),
        StudyStatus(id=TWO, serving=False, reason="records.csv: expected a column"),
    ],
    releases=9,
    refusals={"unknown_study": 4},
    last_release=ReleaseStatus(
        time="2025-06-01T11:57:00+00:00", study=ONE, run="monday", kind="training", step=7
    ),
    ledger=None,
)
NODE: Final = NodeLine(
    superlink="link.example:8000",
    state=NodeState(
        link=LinkState.CONNECTED,
        since="2025-06-01T09:56:00+00:00",
        superlink="link.example:8000",
        node="17",
        heard="2025-06-01T11:59:57+00:00",
        message="2025-06-01T11:57:00+00:00",
    ),
    alive=True,
)
BUDGET: Final = LimitUse(
    limit=to_picomu2(0.2), spent=to_picomu2(0.05), limit_epsilon=2.0, delta=1e-6
)
FULL: Final = Overview(
    now=NOW,
    home=Path("/srv/fieldfare"),
    institution="bank-a",
    custodian=CUSTODIAN,
    node=NODE,
    roster=ROSTER,
    studies=(
        StudyLine(id=ONE, name="small", status=ApprovalStatus.APPROVED, runs=("monday",)),
        StudyLine(id=TWO, name="other", status=ApprovalStatus.APPROVED, runs=()),
        StudyLine(id="c" * 64, name="new", status=ApprovalStatus.RECEIVED, runs=()),
    ),
    budget=LedgerReport(
        population="bank-a",
        position=Position(
            sequence=9,
            head="0" * 64,
            cumulative=to_picomu2(0.05),
            debited=to_picomu2(0.05),
            epoch=0,
        ),
        yearly=BUDGET,
        lifetime=replace(BUDGET, limit=to_picomu2(0.5), limit_epsilon=3.5),
        studies={ONE: to_picomu2(0.05)},
        kinds={"training": to_picomu2(0.05)},
        carried=0,
        last=(),
    ),
    log=Mark(sequence=40, hash="a" * 64),
)


def screen(found: Overview) -> str:
    lines = list(overview_lines(found))
    assert max(map(len, lines)) <= NARROW
    return "\n".join(lines)


def row(found: Overview, topic: str) -> str:
    """One topic's text, its lines joined."""
    text, inside = [], False
    for line in overview_lines(found):
        head = line[:14].strip()
        inside = head == topic or (inside and not head)
        if inside:
            text.append(line[14:])
    return " ".join(text)


def test_everything_is_on_one_screen() -> None:
    assert (
        screen(FULL)
        == """\
institution   bank-a
home          /srv/fieldfare
custodian     serving 1 study, for 2 h, process 4242
node          connected to link.example:8000 for 2 h; last message 3 min ago
roster        version 2, 3 members: bank-a, bank-b, bank-c
studies       1 waiting for your decision: cccccccccccc new
              2 approved: 3b24aaaaaaaa small, 77febbbbbbbb other
runs          of 3b24aaaaaaaa: monday
last release  training step 7 of run monday, study 3b24aaaaaaaa, 3 min ago; 9
              since the custodian started
refusals      since the custodian started: unknown_study 4
left out      77febbbbbbbb: records.csv: expected a column
any 365 days  [########----------------------] 25.0 %
              spent epsilon 0.941 of 2 at delta 1e-06
ever          [####--------------------------] 10.0 %
              spent epsilon 0.941 of 3.5 at delta 1e-06
ledger        9 entries, epoch 0
log           whole: 40 entries"""
    )


def test_a_home_where_nothing_ever_ran() -> None:
    bare = replace(
        FULL,
        custodian=None,
        node=None,
        roster=UnreadPart("roster.signed: expected a pinned roster, found none"),
        studies=(),
        log=UnreadPart("log.sqlite: expected a log in home/log, found none"),
    )
    assert row(bare, "custodian") == "not running"
    assert "fieldfare institution join" in row(bare, "node")
    assert row(bare, "roster").startswith("cannot be used: roster.signed")
    assert row(bare, "studies") == "none has arrived"
    assert row(bare, "log").startswith("NOT WHOLE: ")
    screen(bare)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"trouble": "expected a roster"}, "running, SERVES NOTHING: expected a roster"),
        ({"busy": True}, "serving 1 study, for 2 h, process 4242, taking a change into force"),
    ],
)
def test_a_custodian_says_what_is_wrong(change: dict[str, Any], expected: str) -> None:
    found = replace(FULL, custodian=CUSTODIAN.model_copy(update=change))
    assert row(found, "custodian") == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"link": LinkState.CONNECTING},
            "connecting to link.example:8000 for 2 h",
        ),
        (
            {"heard": "2025-06-01T11:50:00+00:00", "message": ""},
            "no word from link.example:8000 for 10 min; no message yet",
        ),
        (
            {
                "link": LinkState.ENDED,
                "reason": "not admitted",
                "since": "2025-06-01T11:59:48+00:00",
            },
            "not connected: not admitted (it last said so 12 s ago)",
        ),
        (
            {"link": LinkState.ENDED, "reason": ""},
            "not connected: it ended without a reason (it last said so 2 h ago)",
        ),
    ],
)
def test_a_node_says_how_it_stands(change: dict[str, Any], expected: str) -> None:
    state = NODE.state
    assert state is not None
    found = replace(FULL, node=replace(NODE, state=state.model_copy(update=change)))
    assert row(found, "node") == expected


def test_a_node_that_never_ran_is_told() -> None:
    found = replace(FULL, node=replace(NODE, state=None, alive=False))
    assert row(found, "node").startswith("never ran")


@pytest.mark.parametrize("topic", ["custodian", "node", "roster", "studies", "log"])
def test_what_cannot_be_read_hides_nothing_else(topic: str) -> None:
    found = replace(FULL, **{topic: UnreadPart("expected something else " + "x" * 500)})  # type: ignore[arg-type]
    assert "expected something else" in row(found, topic)
    assert "25.0 %" in screen(found)


def test_a_ledger_that_cannot_be_trusted_is_loud() -> None:
    assert row(replace(FULL, budget=UnreadPart("older")), "budget") == "NOTHING LEAVES: older"


def test_somebody_elses_text_moves_no_cursor() -> None:
    assert not isinstance(FULL.studies, UnreadPart)
    hostile = replace(FULL.studies[0], name="x\x1b[2J\r" + "y" * 500)
    assert "\x1b" not in screen(replace(FULL, studies=(hostile,) * 9))
