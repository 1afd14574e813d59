"""A coordinator with a study file and a roster of three, for tests of its commands.

A test plays the process of a run: what such a process would write, it writes to the run store.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.upkeep import at_party
from tests.support.network.coordinator import new_home

from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.store.head_signer import HeadSigner
from fieldfare.server.store.rows import Progress
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.server.upkeep.publication import head_signer
from fieldfare.shared.cli.root import run
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import Approval, IdentitySigner, sign_envelope
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.protocol.signed_files import offer_roster
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import replace_private

BANKS: Final = ("bank-a", "bank-b", "bank-c")
COMMAND: Final = (
    "import sys; from fieldfare.shared.cli.root import run; sys.exit(run(sys.argv[1:]))"
)
STUDY: Final = """\
name = "payments"
purpose = "tests"

[records]
unit = "customer"
label = "reported"
units = 60000
prevalence = 0.1

[[features]]
name = "amount"
kind = "numeric"
lower = 0
upper = 10

[training]
steps = 4

[privacy]
epsilon = 0.5
delta = 1e-5

[aggregation]
minimum_institutions = 3
deadline_seconds = 5
"""


@dataclass
class KeyedCoordinator:
    """One coordinator, and the keys of the institutions on its roster."""

    __test__ = False

    folder: Path
    home: CoordinatorHome
    keys: dict[str, Ed25519PrivateKey]

    @classmethod
    def found(cls, folder: Path) -> "KeyedCoordinator":
        made = cls(folder, new_home(folder / "coordinator"), {})
        made.keys = {name: Ed25519PrivateKey.generate() for name in BANKS}
        made.publish()
        made.study_file.write_text(STUDY)
        return made

    @property
    def study_file(self) -> Path:
        return self.folder / "payments.toml"

    @property
    def study(self) -> Study:
        return load_study(self.study_file)

    @property
    def signer(self) -> IdentitySigner:
        return IdentitySigner(load_signing_key(self.home, None))

    @property
    def head_signer(self) -> HeadSigner:
        return head_signer(self.home, None)

    @property
    def roster_signer(self) -> IdentitySigner:
        return IdentitySigner(load_roster_key(self.home, None).key)

    def store(self) -> AbstractContextManager[RunStore]:
        return run_store(self.home.runs_database)

    def roster(self, version: int = 1) -> Roster:
        return Roster(
            version=version,
            coordinator=signing_public(self.home),
            members=tuple(
                Member(id=name, key=public_hex(key)) for name, key in sorted(self.keys.items())
            ),
            roster_key=roster_public(self.home),
        )

    def publish(self, version: int = 1) -> None:
        replace_private(self.home.roster, offer_roster(self.roster(version), self.roster_signer))

    def approval(self, name: str, **changes: Any) -> Approval:
        fields: dict[str, Any] = {
            "study": self.study.id,
            "roster": self.roster().hash,
            "institution": name,
            "number": 0,
            "epoch": 0,
        }
        return Approval(**(fields | changes))

    def signed(self, name: str, approval: Approval) -> bytes:
        return sign_envelope(approval, name, IdentitySigner(self.keys[name]))

    def approve(self, *names: str) -> None:
        """Let institutions be heard to have approved the study."""
        with self.store() as store:
            for name in names or BANKS:
                envelope = self.signed(name, self.approval(name))
                store.put_approval(self.study.id, name, "approved", envelope, datetime.now(UTC))

    def command(self, *arguments: str) -> int:
        """Run a coordinator command in this process."""
        return run([*at_party("coordinator", arguments), "--home", str(self.home.path)])

    def process(self, *arguments: str, **how: Any) -> "subprocess.Popen[str]":
        """Start a coordinator command as a process."""
        started: Sequence[str] = ["coordinator", *arguments, "--home", str(self.home.path)]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
        return subprocess.Popen([sys.executable, "-c", COMMAND, *started], text=True, **how)


def progress(step: int, phase: str = "training", **changes: Any) -> Progress:
    fields: dict[str, Any] = {
        "step": step,
        "steps": 4,
        "attempt_failures": 0,
        "seconds": 0.25,
        "spent": SideCosts(all=step * 1_000_000_000),
        "phase": phase,
        "at": datetime.now(UTC),
    }
    return Progress(**(fields | changes))


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command said, parsed."""
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def keyed(tmp_path: Path) -> KeyedCoordinator:
    return KeyedCoordinator.found(tmp_path)
