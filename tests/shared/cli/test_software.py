"""`fieldfare software`: what is installed, and what a role installs."""

import json
from pathlib import Path

import pytest

from fieldfare.shared.cli.root import run
from fieldfare.shared.party.software_lock import lock_text


def test_a_lock_is_printed_as_it_is(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["software", "node"]) == 0
    assert capfdbinary.readouterr().out == lock_text("node").encode()


def test_an_unknown_role_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["software", "bank"]) == 2
    assert "auditor, coordinator, institution, lab, node" in capsys.readouterr().err


def test_a_check_of_a_role_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["software", "node", "--check"]) == 2
    assert "--check: expected no ROLE, found one" in capsys.readouterr().err


def test_a_bill_is_written(tmp_path: Path) -> None:
    assert run(["software", "--out", str(tmp_path / "bill.json")]) == 0
    assert json.loads((tmp_path / "bill.json").read_text())["bomFormat"] == "CycloneDX"


def test_changed_files_are_told_by_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    changed = ("numpy: numpy/version.py",)
    monkeypatch.setattr("fieldfare.shared.cli.software.changed_files", lambda: changed)
    assert run(["software", "--check", "--out", str(tmp_path / "bill.json")]) == 1
    assert capsys.readouterr().err == "not as it was installed: numpy: numpy/version.py\n"
