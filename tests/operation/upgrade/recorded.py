"""Homes that an earlier version made (record.py), opened at the hour after they were made."""

import hashlib
import json
import tarfile
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final

import pytest
from tests.operation.upgrade.record import BANK, KEPT
from tests.support.homes.upkeep import at_party

from fieldfare.shared.system import clock
from fieldfare.simulations.demo.testbed import COORDINATOR, in_this_process

VERSIONS: Final = sorted(path.stem for path in KEPT.glob("*.json"))


@dataclass(frozen=True)
class Recorded:
    """One version's homes, in a folder of a test.

    Attributes:
        folder: holds a coordinator's and a bank's home, their backups, a transcript.
        said: of which commit they are, and of when.
    """

    folder: Path
    said: dict[str, Any]

    @property
    def bank(self) -> Path:
        """The bank's home."""
        return self.folder / BANK

    @property
    def coordinator(self) -> Path:
        """The coordinator's home."""
        return self.folder / COORDINATOR

    def typed(self, *words: str) -> tuple[int, str]:
        """Type a command of a home; returns its exit status and all that it said."""
        homes = {"institution": self.bank, "coordinator": self.coordinator}
        home = (
            [] if words[0] not in homes or "--home" in words else ["--home", str(homes[words[0]])]
        )
        party = [*at_party(words[0], words[1:])] if words[0] in homes else words
        done = in_this_process([*party, *home])
        return done.returncode, done.stdout + done.stderr

    def done(self, *words: str) -> str:
        """Type a command that has to end well; returns what it said."""
        status, said = self.typed(*words)
        assert status == 0, said
        return said

    def hashes(self) -> dict[str, str]:
        """The hash of every file."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


def recorded_as(version: str) -> dict[str, Any]:
    """What stands beside a version's homes: its commit, when they were made, and where."""
    said: dict[str, Any] = json.loads((KEPT / f"{version}.json").read_text())
    return said


def unpacked(version: str, folder: Path, *, seen_as: str = "") -> Recorded:
    """Unpack a version's homes where a test may change them; their settings name this place.

    Args:
        version: whose.
        folder: where.
        seen_as: its path in a root of its own, where who opens the homes sees it.
    """
    said, place = recorded_as(version), seen_as or str(folder)
    with tarfile.open(KEPT / f"{version}.tar.xz") as archive:
        archive.extractall(folder, filter="tar")  # modes are a part of a home
    old = str(Path(said["folder"]).parent)
    for path in (folder / BANK).glob("*.toml"):
        text = path.read_text()
        path.write_text(text.replace(said["folder"], place).replace(old, place))
    return Recorded(folder, said)


def at_that_time(said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be the hour after the recording, for everything that asks for the time."""
    then = datetime.fromisoformat(said["recorded"]) + timedelta(hours=1)

    class Then(datetime):
        """The hour after a recording."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return then.astimezone(tz)

    monkeypatch.setattr(clock, "datetime", Then)
