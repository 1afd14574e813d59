"""`coordinator propose`, `studies`, with a real SuperLink and without one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.homes.keyed_coordinators import BANKS, KeyedCoordinator, said
from tests.support.network.coordinator import running_superlink
from tests.support.system.packages import without_torch
from tests.support.system.processes import until

from fieldfare.server.studies.proposing import propose
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import IdentitySigner, Rejection, sign_envelope
from fieldfare.shared.protocol.signed_files import open_study


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedCoordinator]:
    """A coordinator whose SuperLink runs; nobody carries out runs."""
    made = KeyedCoordinator.found(tmp_path_factory.mktemp("served"))
    with running_superlink(made.home):
        yield made


def started(keyed: KeyedCoordinator, run: int) -> str:
    with control(control_target(keyed.home)) as link:
        return link.run_status(run).state


def test_a_study_is_proposed_and_institutions_are_told(
    served: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served.command("propose", str(served.study_file)) == 0
    out = capsys.readouterr().out
    assert "promise       epsilon 0.5 at delta 1e-05 per customer" in out
    assert f"proposed as {served.study.id[:12]}" in out
    assert "institutions that are online get it now" in out
    assert f"Next: fieldfare coordinator studies {served.study.id[:12]} --refresh" in out
    envelope = served.home.study(served.study.id).read_bytes()
    assert open_study(envelope, served.roster(), Protection.EXACT) == served.study
    assert served.command("propose", str(served.study_file), "--json") == 0
    found = said(capsys)
    assert (found["study"], found["name"]) == (served.study.id, "payments")
    assert found["file"] == str(served.home.study(served.study.id))
    assert started(served, found["hello"]) == "pending"


def test_without_a_superlink_a_study_is_proposed_all_the_same(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keyed.command("propose", str(keyed.study_file), "--json") == 0
    found = said(capsys)
    assert found["hello"] is None
    assert (
        "institutions get it with the next run or hello: expected a SuperLink at" in found["note"]
    )
    assert keyed.home.study(keyed.study.id).is_file()


def test_nothing_is_sent_when_nothing_shall_be_or_nobody_is_there(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keyed.command("propose", str(keyed.study_file), "--no-hello") == 0
    assert "nothing was sent\n" in capsys.readouterr().out
    keyed.home.roster.unlink()
    assert keyed.command("propose", str(keyed.study_file)) == 0
    assert "for no roster is published: fieldfare coordinator roster" in capsys.readouterr().out


def test_a_study_with_mistakes_is_not_signed(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    text = keyed.study_file.read_text()
    keyed.study_file.write_text(text.replace("epsilon = 0.5", "epsilon = -1"))
    assert keyed.command("propose", str(keyed.study_file)) == 2
    assert "privacy.epsilon" in capsys.readouterr().err
    assert list(keyed.home.studies.iterdir()) == []
    assert keyed.command("propose", str(keyed.folder / "absent.toml")) == 2


def test_studies_are_listed(keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]) -> None:
    assert keyed.command("studies") == 0
    assert "no study was proposed: fieldfare coordinator propose" in capsys.readouterr().out
    keyed.command("propose", str(keyed.study_file), "--no-hello")
    capsys.readouterr()
    assert keyed.command("studies") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["study", "name", "epsilon", "proposed", "approved", "by"]
    assert row.split()[:5] == [keyed.study.id[:12], "payments", "0.5", "at", "1e-05"]
    assert row.rstrip().endswith("nobody yet")
    hear(keyed, "bank-b")
    assert keyed.command("studies") == 0
    assert capsys.readouterr().out.splitlines()[1].rstrip().endswith("bank-b")


def hear(keyed: KeyedCoordinator, *names: str, **changes: Any) -> None:
    """What a hello would write."""
    with keyed.store() as store:
        for name in names:
            at = datetime.now(UTC) - timedelta(minutes=5)
            approval = keyed.approval(name, **changes)
            signed = keyed.signed(name, approval)
            store.put_approval(keyed.study.id, name, "approved", signed, at)


def test_approvals_name_everybody(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    keyed.command("propose", str(keyed.study_file), "--no-hello")
    hear(keyed, "bank-b")
    hear(keyed, "bank-c", roster="0" * 64)
    capsys.readouterr()
    assert keyed.command("studies", "payments") == 0
    first, header, *rows, last = capsys.readouterr().out.splitlines()
    assert first == f"payments  {keyed.study.id}"
    assert header.split() == ["institution", "says", "approval", "heard"]
    approval = keyed.approval("bank-b").hash
    assert [row.split("  ")[0] for row in rows] == list(BANKS)
    assert rows[0].split(maxsplit=1)[1].strip() == "not heard yet"
    assert rows[1].split() == ["bank-b", "approved", approval[:12], "5", "min", "ago"]
    assert "approved under an older roster: has to approve again" in rows[2]
    assert last == "1 of at least 3 approvals"


def test_with_enough_approvals_the_next_step_is_a_run(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    keyed.command("propose", str(keyed.study_file), "--no-hello")
    hear(keyed, *BANKS)
    capsys.readouterr()
    assert keyed.command("studies", keyed.study.id[:8], "--json") == 0
    found = said(capsys)
    assert found["minimum_institutions"] == 3
    assert list(found["institutions"]) == list(BANKS)
    assert found["institutions"]["bank-a"]["approval"] == keyed.approval("bank-a").hash
    assert keyed.command("studies", keyed.study.id) == 0
    expected = (
        f"Next: fieldfare coordinator run start {keyed.study.id[:12]} --home {keyed.home.path}"
    )
    assert capsys.readouterr().out.splitlines()[-1] == expected


def test_approvals_of_an_unknown_study_are_said(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keyed.command("studies", "absent") == 2
    assert "see `fieldfare coordinator studies`" in capsys.readouterr().err


@pytest.mark.promises
def test_a_refresh_waits_for_the_answers(
    served: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    served.command("propose", str(served.study_file), "--no-hello")
    capsys.readouterr()
    before = runs_of(served)
    process = served.process("studies", "payments", "--refresh")
    until(lambda: runs_of(served) - before)
    assert process.poll() is None
    with control(control_target(served.home)) as link:
        link.stop_run((runs_of(served) - before).pop())  # as if its process had failed
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert (out, "the hello ended as stopped" in err) == ("", True)


def runs_of(keyed: KeyedCoordinator) -> set[int]:
    """The SuperLink's ids of all runs."""
    with closing(sqlite3.connect(keyed.home.superlink_database)) as link:
        return {run % 2**64 for (run,) in link.execute("SELECT run_id FROM run")}


def test_a_refresh_without_a_superlink_is_an_error(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    keyed.command("propose", str(keyed.study_file), "--no-hello")
    assert keyed.command("studies", "payments", "--refresh") == 1
    assert "fieldfare coordinator start" in capsys.readouterr().err


def test_a_study_that_needs_torch_is_not_proposed_without(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with keyed.study_file.open("a") as file:
        file.write('\n[model]\nkind = "mlp"\nhidden = [8]\n')
    without_torch(monkeypatch)
    assert keyed.command("propose", str(keyed.study_file), "--no-hello") == 2
    assert "pip install 'fieldfare[torch]'" in capsys.readouterr().err
    assert keyed.command("studies", "--json") == 0
    assert said(capsys) == []


def test_a_no_is_shown_with_its_reason(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    made = propose(keyed.home, keyed.study, keyed.signer)
    body = Rejection(
        study=made.id,
        roster=keyed.roster().hash,
        institution="bank-b",
        decision="rejected",
        reason="the purpose is too wide",
    )
    with keyed.store() as store:
        envelope = sign_envelope(body, "bank-b", IdentitySigner(keyed.keys["bank-b"]))
        store.put_approval(made.id, "bank-b", body.text, envelope, datetime.now(UTC))
    assert keyed.command("studies", "payments") == 0
    assert "rejected it: the purpose is too wide" in capsys.readouterr().out
    assert keyed.command("studies") == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.rstrip().endswith("no from")
    assert row.rstrip().endswith("bank-b")
    assert keyed.command("studies", "payments", "--json") == 0
    found = said(capsys)["institutions"]["bank-b"]
    assert (found["no"], found["approval"]) == (True, None)
