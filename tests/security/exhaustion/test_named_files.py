"""A file that somebody hands over may be a pipe or a device: it is refused, and nothing waits.

A pipe that nobody writes to hangs whoever opens it, and /dev/zero never ends.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import NAMES, Coordinator, coordinator

from fieldfare.shared.cli.root import run
from fieldfare.shared.system.private_files import open_regular

__all__ = ["coordinator"]

SECONDS: Final = 30
COMMANDS: Final = {
    "study check": ("study", "check", "{file}"),
    "audit": ("audit", "transcript", "{file}", "--roster", "{file}"),
    "import": ("institution", "import", "{file}", "{home}"),
    "roster": ("institution", "roster", "accept", "{file}", "{home}"),
    "verify": ("institution", "verify", "{file}", "{home}"),
    "records": ("institution", "records", "check", "{study}", "--records", "{file}"),
    "mapping": (
        "institution",
        "records",
        "check",
        "{study}",
        "--records",
        "{study}",
        "--mapping",
        "{file}",
    ),
    "importer": (
        "institution",
        "records",
        "import",
        "{file}",
        "--from",
        "paysim",
        "--out",
        "{out}",
        "{home}",
    ),
}


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """A test that waits fails."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits"))
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)


@pytest.fixture(params=["pipe", "device"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "device":
        return Path("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_file_is_refused_at_once(
    coordinator: Coordinator,
    tmp_path: Path,
    other: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    study = Path(__file__).parents[3] / "studies" / "five-banks.toml"
    home = f"--home={coordinator.homes[NAMES[0]].path}"
    given = {"file": other, "study": study, "home": home, "out": tmp_path / "made" / "out"}
    assert run([word.format(**given) for word in COMMANDS[command]]) == 2
    said = capsys.readouterr()
    assert "a pipe or a device" in said.out + said.err
    assert not (tmp_path / "made").exists()


def test_a_folder_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


def test_a_refused_import_leaves_no_folder_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.csv").write_text("no,paysim,columns\n1,2,3\n")
    (tmp_path / "kept").mkdir()
    for out, stays in (("new/deep/out", False), ("kept", True)):
        call = ("institution", "records", "import", str(tmp_path / "wrong.csv"), "--from", "paysim")
        key = ("--key-file", str(tmp_path / "records.key"))
        assert run([*call, *key, "--out", str(tmp_path / out)]) != 0
        assert (tmp_path / out).exists() is stays
    assert not (tmp_path / "new").exists()
    assert "Traceback" not in capsys.readouterr().err
