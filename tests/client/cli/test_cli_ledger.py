"""The commands as an owner types them."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from tests.support.federations.debits import commit_release

from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import limits, load_policy
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.ledger.budget import Debit
from fieldfare.client.ledger.kept_states import RecallStanding
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.pending import Split
from fieldfare.client.ledger.run_states import LEDGER_STATE, RECALL_STATE
from fieldfare.shared.cli.root import run
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.system.clock import utc_now

Capture = pytest.CaptureFixture[str]


def fill(home: Home, steps: range, side: Side = Side.ALL, split: str = "") -> None:
    with Ledger.open(
        home.ledger, population="bank-a", limits=limits(load_policy(home)), clock=utc_now
    ) as ledger:
        for step in steps:
            commit_release(
                ledger,
                Debit(
                    study="5" * 64,
                    run="r",
                    step=step,
                    attempt=0,
                    kind="training",
                    request=hashlib.sha256(f"{step}".encode()).hexdigest(),
                    cost=10**10,
                    side=side,
                ),
                vector=b"masked",
                study_limit=10**12,
                max_attempts=1,
                sign=lambda _: b"signed",
                run_states={"r": b"keys"},
                split=Split(split),
            )


def ledger(home: Home, command: str = "", *arguments: str) -> int:
    words = (
        ["verify", "ledger"] if command == "verify" else ["ledger", *([command] if command else [])]
    )
    return run(["institution", *words, "--home", str(home.path), *arguments])


@pytest.fixture
def behind(home: Home, tmp_path: Path) -> Home:
    fill(home, range(2))
    shutil.copy2(home.ledger, tmp_path / "backup")
    fill(home, range(2, 5))
    shutil.copy2(tmp_path / "backup", home.ledger)
    return home


def test_a_fresh_home_has_its_whole_budget(home: Home, capsys: Capture) -> None:
    assert ledger(home) == 0
    said = capsys.readouterr().out
    assert "nothing was ever released" in said
    assert "left epsilon 6" in said
    assert ledger(home, "verify") == 0
    assert "0 entries" in capsys.readouterr().out
    assert ledger(home, "", "--registry") == 2
    assert not list(home.ledger.parent.iterdir())


def test_show_says_what_is_left_and_on_what_it_was_spent(home: Home, capsys: Capture) -> None:
    fill(home, range(3))
    assert ledger(home) == 0
    said = capsys.readouterr().out
    assert "any 365 days  [###" in said
    assert f"study {'5' * 12}  [{'#' * 30}] 100.0 %  epsilon 0.6" in said
    assert "training step 2 attempt 0" in said
    assert all(len(line) <= 110 for line in said.splitlines())
    assert ledger(home, "", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lifetime"]["spent"]["picomu2"] == 3 * 10**10
    assert found["kinds"]["training"]["mu2"] == 0.03


def test_verify_is_one_line(home: Home, capsys: Capture) -> None:
    fill(home, range(2), Side.TRAINING)
    fill(home, range(2, 3), Side.HOLDOUT)
    assert ledger(home, "verify") == 0
    said = capsys.readouterr().out
    assert said.startswith("ledger verified: 3 entries, epoch 1, mu^2 0.02 spent, 0.03 debited, ")
    assert said.count("\n") == 1


def test_a_restored_copy_is_refused_until_it_is_accepted(behind: Home, capsys: Capture) -> None:
    for words in ((), ("verify",), ("", "--registry")):
        assert ledger(behind, *words) == 1
        assert "accept-restore" in capsys.readouterr().err
    assert ledger(behind, "accept-restore") == 2
    assert "--reason" in capsys.readouterr().err
    assert ledger(behind, "accept-restore", "--reason", "the disk failed") == 0
    said = capsys.readouterr().out
    assert "accepted as epoch 2: mu^2 0.03 carried over, 0.05 spent in all" in said
    assert ledger(behind) == 0
    said = capsys.readouterr().out
    assert "lost, carried over" in said
    assert "the disk failed" in said
    assert ledger(behind, "accept-restore", "--reason", "again") == 1
    assert "nothing to accept" in capsys.readouterr().err


def test_without_a_witness_the_total_is_stated(home: Home, capsys: Capture) -> None:
    fill(home, range(2))
    home.ledger.with_name("ledger.sqlite.witness").unlink()
    assert ledger(home, "accept-restore", "--reason", "lost") == 1
    assert "--spent" in capsys.readouterr().err
    assert ledger(home, "accept-restore", "--reason", "lost", "--spent", "0.125") == 0
    assert "0.125 spent in all" in capsys.readouterr().out


def test_a_lost_hold_out_key_is_said_and_paid_for(home: Home, capsys: Capture) -> None:
    fill(home, range(2), Side.TRAINING, split="1" * 64)
    home.holdout_key.unlink()
    assert ledger(home, "holdout-key", "--reason", "the disk failed", "--yes") == 0
    assert f"study {'5' * 12}: mu^2 0.02 more spent" in capsys.readouterr().out
    assert home.holdout_key.exists()
    assert ledger(home) == 0
    assert "for other sides of its units, by" in capsys.readouterr().out


def test_a_population_is_split(home: Home, tmp_path: Path, capsys: Capture) -> None:
    fill(home, range(2))
    part = create_institution(tmp_path / "cases", "bank-a-cases")
    arguments = ("--into", str(part.path), "--reason", "cases are kept apart")
    assert ledger(home, "split", *arguments) == 0
    assert "split off bank-a-cases" in capsys.readouterr().out
    for one in (home, part):
        assert ledger(one, "verify") == 0
        assert "mu^2 0.02 spent" in capsys.readouterr().out
    assert ledger(home, "split", *arguments) == 1
    assert "expected no ledger at" in capsys.readouterr().err


def test_a_record_is_made_for_the_registry(home: Home, capsys: Capture) -> None:
    fill(home, range(2))
    assert ledger(home, "", "--registry") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["status"] == "Draft"
    assert record["deployment"]["privacy_loss"]["privacy_parameters"]["delta"] == 1e-5
    assert record["deployment"]["basic"]["data_curators"] == ["bank-a"]


# -- what members remember -------------------------------------------------------------------------


def ask_members(home: Home, *heard: str) -> None:
    fill(home, range(1))
    standing = RecallStanding(boot="0" * 64, asked=("bank-b", "bank-c", "bank-d"), heard=heard)
    with open_ledger(home) as opened:
        content = standing.model_dump_json().encode()
        opened.put_run_state(LEDGER_STATE, RECALL_STATE, content)


def test_recall_shows_who_has_answered(home: Home, capsys: Capture) -> None:
    assert ledger(home, "recall") == 0
    assert "no member was asked" in capsys.readouterr().out
    ask_members(home, "bank-b")
    assert ledger(home, "recall") == 0
    said = capsys.readouterr().out
    assert "the last start asked 3 members" in said
    assert said.count("NO ANSWER") == 2
    assert "nothing opens before they answer" in said
    assert all(len(line) <= 80 for line in said.splitlines())


def test_going_on_without_a_member_is_a_persons_decision(home: Home, capsys: Capture) -> None:
    ask_members(home, "bank-b", "bank-c")
    rows = [
        (("--without", "bank-d"), 2, "--reason: expected why"),
        (("--without", "bank-b", "--reason", "r", "--yes"), 2, "that have not answered (bank-d)"),
    ]
    for arguments, status, said in rows:
        assert ledger(home, "recall", *arguments) == status
        assert said in capsys.readouterr().err
    assert ledger(home, "recall", "--without", "bank-d", "--reason", "it closed", "--yes") == 0
    assert "all that the limits still allowed" in capsys.readouterr().out
    assert ledger(home, "recall") == 0
    assert "a start goes on without it" in capsys.readouterr().out
    assert ledger(home) == 0
    shown = capsys.readouterr().out
    assert "to go on without what silent members remember, by" in shown
    assert "100.0 %" in shown
    assert ledger(home, "verify") == 0


def test_a_person_may_say_how_many_were_honest(home: Home, capsys: Capture) -> None:
    ask_members(home, "bank-b", "bank-c")
    assert ledger(home, "recall", "--honest", "3", "--reason", "four of five", "--yes") == 0
    assert "silent members allowed: 1" in capsys.readouterr().out
    assert ledger(home, "recall") == 0
    assert "nothing opens" not in capsys.readouterr().out
    assert ledger(home) == 0
    assert "silent members remember" not in capsys.readouterr().out
