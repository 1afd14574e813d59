"""`coordinator export model` as it is typed."""

import stat
from pathlib import Path

import pytest
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import RUN, delivered

from fieldfare.server.cli.export import delivery_file
from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import signing_public
from fieldfare.server.run.closing import keep_delivery
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.protocol.delivery import DeliveryFile
from fieldfare.shared.protocol.messages import IdentitySigner, NoSigner
from fieldfare.shared.protocol.roster import Roster

STUDY = home_study()


def finish(home: CoordinatorHome) -> None:
    made = delivered(STUDY, IdentitySigner(load_signing_key(home, None)))
    keep_delivery(home.model(RUN), made)


def export(home: CoordinatorHome, out: Path, which: str = RUN) -> int:
    arguments = ["coordinator", "export", "model", which, "--out", str(out)]
    return run([*arguments, "--home", str(home.path)])


def test_the_file_is_what_institutions_open(
    coordinator_home: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(coordinator_home)
    out = tmp_path / "model.delivery"
    assert export(coordinator_home, out) == 0
    assert "institution import model.delivery" in capsys.readouterr().out
    roster = Roster(version=1, coordinator=signing_public(coordinator_home), members=())
    file = DeliveryFile.from_bytes(out.read_bytes())
    assert file.open(roster).run == RUN
    assert file == delivery_file(coordinator_home, RUN)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_nothing_is_written_over(
    coordinator_home: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(coordinator_home)
    out = tmp_path / "model.delivery"
    out.write_text("mine")
    assert export(coordinator_home, out) == 2
    assert out.read_text() == "mine"
    assert "nothing is overwritten" in capsys.readouterr().err


def test_a_run_without_a_model_is_said_to_have_none(
    coordinator_home: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(coordinator_home, tmp_path / "out") == 1
    assert "has no model yet" in capsys.readouterr().err
    with pytest.raises(UsageError):
        delivery_file(coordinator_home, "..")
    finish(coordinator_home)
    (coordinator_home.model(RUN) / "card.json").unlink()
    with pytest.raises(RunError, match="expected a finished model"):
        delivery_file(coordinator_home, RUN)


def test_what_nobody_would_take_is_not_exported(
    coordinator_home: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_delivery(coordinator_home.model(RUN), delivered(STUDY, NoSigner()))
    out = tmp_path / "out"
    assert export(coordinator_home, out) == 1
    assert not out.exists()
    assert "signature" in capsys.readouterr().err


def test_a_delivery_of_before_another_online_key_is_said_to_be_one(
    coordinator_home: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(coordinator_home)
    assert run(["coordinator", "renew", "online-key", "--home", str(coordinator_home.path)]) == 0
    out = tmp_path / "out"
    capsys.readouterr()
    assert export(coordinator_home, out) == 1
    assert not out.exists()
    said = capsys.readouterr().err
    assert f"{RUN}: expected a delivery that the present online key signed" in said
    assert "after `renew online-key` or a restore" in said
