"""An environment for each peer, and its program run there; what does not install gives a note."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

PROGRAMS: Final = Path(__file__).with_name("programs")
INSTALL_SECONDS: Final = 900.0
SHOWN: Final = 300
QUIET: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}
"""Nothing calls home, and numbers take one thread, as ours do."""


@dataclass(frozen=True)
class Peer:
    """A framework, and the program that measures its rounds.

    Attributes:
        name: for people.
        requirement: for pip.
        program: file in `programs`; takes institutions, entries and rounds, prints wall and
            processor seconds of each round as JSON.
        rounds: in a turn.
        turns: how often it is run.
        most: institutions of which a round ends in minutes here.
    """

    name: str
    requirement: str
    program: str
    rounds: int = 3
    turns: int = 2
    most: int = 1000


class Spent(NamedTuple):
    """Seconds of a clock, and of processors in all processes together."""

    wall: float
    processor: float


class PeerError(Exception):
    """A peer cannot be measured here; the text says why."""


def environment(peer: Peer, folder: Path) -> Path:
    """Return the Python of a peer's own environment, made if it is not there.

    Raises:
        PeerError: it does not install.
    """
    place = folder / peer.program
    python = place / "bin" / "python"
    done = place / "installed"
    if done.is_file() and done.read_text("utf-8") == peer.requirement:
        return python
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(place)], INSTALL_SECONDS)
        _run([str(python), "-m", "pip", "install", "--quiet", peer.requirement], INSTALL_SECONDS)
    except PeerError as why:
        raise PeerError(
            f"{peer.name}: pip install {peer.requirement} did not end well: {why}"
        ) from None
    done.write_text(peer.requirement, "utf-8")
    return python


def rounds(peer: Peer, python: Path, sizes: Sequence[int], seconds: float) -> list[Spent]:
    """Return what each round took.

    Args:
        peer: what is measured.
        python: of its environment.
        sizes: institutions, entries, rounds.
        seconds: after which it is given up.

    Raises:
        PeerError: it took longer, or ended with an error.
    """
    said = _run([str(python), str(PROGRAMS / f"{peer.program}.py"), *map(str, sizes)], seconds)
    found = [Spent(*each) for each in json.loads(said.splitlines()[-1])]
    if not found:
        raise PeerError(f"{peer.name}: expected seconds of rounds, found none")
    return found


def _run(command: Sequence[str], seconds: float) -> str:
    process = subprocess.Popen(
        command,
        env=os.environ | QUIET,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise PeerError(f"not at its end after {seconds:.0f} s") from None
    finally:
        _end(process.pid)
    if process.returncode != 0:
        raise PeerError(f"status {process.returncode}: {errors.strip()[-SHOWN:]}")
    return said


def _end(group: int) -> None:
    """End what a program left: engines start processes of their own."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
