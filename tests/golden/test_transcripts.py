"""What an audit says of kept transcripts of deployed runs is what it always said.

tests/golden/deployed.py recorded them, once. Nothing of a run may be read in another way later.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

KEPT: Final = Path(__file__).with_name("transcripts")
NAMES: Final = sorted(folder.name for folder in KEPT.iterdir())


def audited(transcript: Path, roster: Path) -> tuple[int, dict[str, Any]]:
    """The audit's exit status and its report."""
    command = ["fieldfare", "audit", "transcript", str(transcript), "--roster", str(roster)]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


@pytest.mark.parametrize("name", NAMES)
def test_an_audit_says_what_it_always_said(name: str) -> None:
    folder = KEPT / name
    status, report = audited(folder / "run.transcript", folder / "roster.signed")
    assert report == json.loads((folder / "audit.json").read_text("utf-8"))
    assert (status, report["verified"], report["state"]) == (0, True, "finished")


@pytest.mark.parametrize("place", [0.5, 0.75])
def test_a_changed_byte_is_found(place: float, tmp_path: Path) -> None:
    content = bytearray((KEPT / "training" / "run.transcript").read_bytes())
    content[int(len(content) * place)] ^= 1
    changed = tmp_path / "changed.transcript"
    changed.write_bytes(content)
    status, report = audited(changed, KEPT / "training" / "roster.signed")
    assert (status, report["verified"]) == (1, False)


def test_one_of_each_kind_is_kept() -> None:
    reports = {name: json.loads((KEPT / name / "audit.json").read_text("utf-8")) for name in NAMES}
    assert set(reports) >= {"training", "questions", "resumed"}
    assert reports["training"]["metrics"] is not None
    assert reports["questions"]["questions"] == 2
    assert reports["resumed"]["failed_attempts"] == 1
