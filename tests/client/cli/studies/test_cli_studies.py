"""`institution import`, `studies`, `review`, `approve`, `reject` and `withdraw` as typed."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.homes.institutions import UNITS, Coordinator, home_study
from tests.support.system.packages import without_torch

from fieldfare.client.home.studies import RejectionDisclosure, State, read_decision
from fieldfare.client.institution.institution import open_institution
from fieldfare.client.institution.open import open_institution_ledger
from fieldfare.client.ledger.run_states import LEDGER_STATE, SHOWN_REPLY
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.messages import NoSigner, Reply, sign_envelope
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user

STUDY = home_study()


class Typed:
    """Commands of `bank-a`, and what they say."""

    def __init__(self, coordinator: Coordinator, capsys: pytest.CaptureFixture[str]) -> None:
        self.coordinator = coordinator
        self.home = coordinator.homes["bank-a"]
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        status = run(["institution", *arguments, "--home", str(self.home.path)])
        out, err = self._capsys.readouterr()
        return status, out, err

    def receive(self, study: Study = STUDY) -> tuple[int, str, str]:
        file = self.coordinator.file(f"{study.id}.signed", self.coordinator.signed(study))
        return self("import", str(file))

    def state(self, study: Study = STUDY) -> State:
        return read_decision(self.home, study.id).state


@pytest.fixture
def typed(coordinator: Coordinator, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(coordinator, capsys)


def answered(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_study_from_its_file_to_its_withdrawal(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no study has arrived" in typed("studies")[1]
    status, out, _ = typed.receive()
    assert status == 0
    assert f"institution review {STUDY.id[:12]}" in out
    assert "waits for a decision" in typed("studies")[1]
    assert "it is for you to decide" in typed("review", STUDY.id[:6])[1]

    answered(monkeypatch, "n\n")
    status, out, _ = typed("approve", STUDY.id[:6])
    assert (status, typed.state()) == (1, State.RECEIVED)
    assert f"records fit: {UNITS} units" in out
    answered(monkeypatch, "y\n")
    status, out, _ = typed("approve", STUDY.id[:6])
    assert (status, typed.state()) == (0, State.APPROVED)
    assert "purpose" in out  # reviewed on the same screen
    assert f"approved {STUDY.id[:12]} by {os_user()}" in out

    (row,) = json.loads(typed("studies", "--json")[1])
    assert (row["id"], row["standing"], row["user"]) == (STUDY.id, "approved", os_user())
    assert row["approval"] in out

    answered(monkeypatch, "n\n")
    assert typed("withdraw", STUDY.id[:6])[0] == 1
    assert typed.state() is State.APPROVED
    status, out, _ = typed("withdraw", STUDY.id[:6], "--yes", "--reason", "a new purpose")
    assert (status, typed.state()) == (0, State.WITHDRAWN)
    assert "keys are destroyed" in out
    assert "a new purpose" in typed("studies")[1]
    assert typed("verify", "log")[0] == 0


def test_a_rejection_needs_a_reason(typed: Typed) -> None:
    typed.receive()
    status, _, err = typed("reject", STUDY.id)
    assert status == 2
    assert "--reason" in err
    status, out, _ = typed("reject", STUDY.id, "--reason", "too wide")
    assert status == 0
    assert typed.state() is State.REJECTED
    # Who types a reason is told that it leaves, and how it does not.
    assert "the coordinator learns your decision, and this reason" in out
    assert "--keep-reason to keep the reason inside" in out
    assert read_decision(typed.home, STUDY.id).told is RejectionDisclosure.REASON
    status, out, _ = typed("reject", STUDY.id, "--reason", "too wide", "--keep-reason")
    assert "your decision, but no reason" in out
    assert read_decision(typed.home, STUDY.id).told is RejectionDisclosure.DECISION
    status, out, _ = typed("studies")
    assert "rejected" in out
    assert "too wide" in out
    assert "rejected" in typed.receive()[1]


def test_review_takes_a_file_that_was_not_received(typed: Typed) -> None:
    typed.receive()
    after = home_study(privacy__epsilon=0.75)
    file = typed.coordinator.file("after", typed.coordinator.signed(after))
    status, out, _ = typed("review", str(file))
    assert status == 0
    assert "not received yet" in out
    assert "~ privacy.epsilon: 0.5 -> 0.75" in out
    data = json.loads(typed("review", str(file), "--json")[1])
    assert data["id"] == after.id
    assert data["comparison"]["earlier"] == STUDY.id
    assert typed("review", STUDY.id, "--json")[1]
    assert json.loads(typed("review", STUDY.id, "--json")[1])["comparison"] is None


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"records__label": "other"}, 3, "records.columns"),
    ({"privacy__epsilon": 1.5}, 3, "budget.study_epsilon"),
    ({"privacy__multiplicity": 2}, 2, "privacy.multiplicity"),
    ({"aggregation__minimum_institutions": 5}, 2, "aggregation.minimum_institutions"),
]


@pytest.mark.parametrize(("changes", "status", "said"), REFUSED, ids=lambda v: str(v)[:30])
def test_what_cannot_be_approved_is_one_line_with_its_status(
    typed: Typed, changes: dict[str, Any], status: int, said: str
) -> None:
    study = home_study(**changes)
    assert typed.receive(study)[0] == 0
    assert f"cannot be approved: {said}" in typed("review", study.id)[1]
    found, out, err = typed("approve", study.id, "--yes")
    assert (found, out) == (status, "")
    assert err.count("\n") == 1
    assert said in err
    assert typed.state(study) is State.RECEIVED


def test_records_that_do_not_fit_are_said_at_the_approval(typed: Typed) -> None:
    typed.receive()
    records = typed.home.path / "records.csv"
    records.write_text(
        records.read_text().replace("reported", "Reported ", 1).replace("amount", "x")
    )
    status, _, err = typed("approve", STUDY.id, "--yes")
    assert status == 2
    assert "amount" in err
    assert typed.state() is State.RECEIVED


def test_wrong_input_is_one_line_and_status_2(typed: Typed, tmp_path: Path) -> None:
    foreign = Coordinator(tmp_path / "foreign")
    files = {
        "foreign": foreign.signed(STUDY),
        "garbage": b"\x00",
        "roster": typed.coordinator.signed_roster(),
    }
    for name, content in files.items():
        path = str(typed.coordinator.file(name, content))
        for command in ("import", "review"):
            status, out, err = typed(command, path)
            assert (status, out, err.count("\n")) == (2, "", 1), (name, command)
    for name in ("review", "approve", "withdraw"):
        status, out, err = typed(name, "abcdef012345")
        assert (status, out, err.count("\n")) == (2, "", 1), name
        assert "fits none" in err
    assert typed("reject", "abcdef012345", "--reason", "x")[0] == 2
    assert list(typed.home.studies.iterdir()) == []


def test_no_policy_approves_a_study_and_one_that_says_so_is_refused(typed: Typed) -> None:
    """D1: an approval that a program gave answered, without noise, what the records hold."""
    begin = "[budget]"
    typed.coordinator.edit(
        typed.home.policy, begin, f"auto_approve = false\n{begin}"
    )  # earlier files
    status, out, _ = typed.receive()
    assert (status, typed.state()) == (0, State.RECEIVED)
    assert "Next: fieldfare institution review" in out
    typed.coordinator.edit(typed.home.policy, "auto_approve = false", "auto_approve = true")
    status, out, err = typed.receive()
    assert (status, out, typed.state()) == (2, "", State.RECEIVED)
    assert "auto_approve" in err
    assert "approve them yourself" in err


def test_a_study_can_be_withdrawn_whatever_became_of_roster_and_identity(typed: Typed) -> None:
    typed.receive()
    assert typed("approve", STUDY.id, "--yes")[0] == 0
    assert typed("keys", "rotate")[0] == 0  # the pinned roster has the old key
    assert typed("studies")[0] == 2
    typed.home.roster.unlink()
    assert typed("withdraw", STUDY.id, "--yes")[0] == 0
    assert typed.state() is State.WITHDRAWN


def test_without_a_roster_the_next_command_is_said(typed: Typed) -> None:
    typed.home.roster.unlink()
    for command in (("studies",), ("review", "abcd"), ("approve", "abcd", "--yes")):
        status, _, err = typed(*command)
        assert status == 2
        assert "institution roster accept" in err


def test_a_study_that_needs_torch_is_refused_with_the_command_that_installs_it(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_torch(monkeypatch)
    study = home_study(name="network", model={"kind": "mlp", "hidden": [8]})
    assert typed.receive(study)[0] == 0  # it waits: people may yet install it
    for command in (("review",), ("approve", "--yes")):
        status, _, err = typed(*command, study.id[:6])
        assert (status, typed.state(study)) == (2, State.RECEIVED)
        assert "expected torch, which networks (mlp, modules) need" in err
        assert "pip install 'fieldfare[torch]'" in err
    assert "waits for a decision" in typed("studies")[1]
    assert typed("reject", study.id[:6], "--reason", "no torch here")[0] == 0


def test_under_a_ledger_that_is_behind_nothing_is_approved(typed: Typed) -> None:
    """Nothing would leave under the approval: a newer reply was shown than the ledger holds."""
    typed.receive()
    reply = Reply(
        request="0" * 64,
        institution="bank-a",
        answer="0" * 64,
        vector="0" * 64,
        debit=1,
        ledger_sequence=7,
        ledger_head="0" * 64,
        cumulative=7,
        debited=7,
        epoch=1,
    )
    with open_institution_ledger(open_institution(typed.home.path), utc_now) as ledger:
        shown = sign_envelope(reply, "bank-a", NoSigner())
        ledger.put_run_state(LEDGER_STATE, SHOWN_REPLY, shown)
    status, out, err = typed("approve", STUDY.id, "--yes")
    assert (status, typed.state()) == (1, State.RECEIVED)
    assert "ledger accept-restore" in err
    assert "in force now" not in out


def test_how_many_rows_count_as_zero_is_said_before_anybody_approves(typed: Typed) -> None:
    records = typed.home.path / "records.csv"
    header, *rows = records.read_text().splitlines()
    rows[0] = rows[0].replace(",1,", ",,").replace(",0,", ",,")  # no label
    records.write_text("\n".join([header, *rows, f"{rows[1]},too many", ""]))
    typed.receive()
    status, out, _ = typed("review", STUDY.id)
    assert status == 0
    assert "2 of 201 rows count as zero (0.995 %)" in out
    assert "expected a label, found none in 1 row (1)" in " ".join(out.split())
    assert "found 1 line that cannot be read so (202)" in " ".join(out.split())
    assert rows[1].split(",")[0] not in out
    status, out, _ = typed("approve", STUDY.id, "--yes")
    assert (status, typed.state()) == (0, State.APPROVED)
    assert "records: 2 of 201 rows count as zero (0.995 %); 199 units of yours are left" in out
    assert "counts as zero: " in out
    records.write_text("customer,amount\n")
    assert "would not load:" in typed("review", STUDY.id)[1]
    records.unlink()
    assert "expected a file with records" in " ".join(typed("review", STUDY.id)[1].split())
