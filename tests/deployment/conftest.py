"""Real processes: a stock SuperLink for a module of tests, and institutions' nodes."""

import functools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.superlink.grid import http_grid
from tests.support.federations.bench import NAMES, Bench, make_study, make_sums
from tests.support.network.served import serving
from tests.support.network.superlink import Superlink, new_node_key, running_superlink

from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import RECORD, Call
from fieldfare.shared.system.sockets import UnixSocket
from fieldfare.simulations.federation.federation import LocalFederation

COMMAND: Final = Path(sys.executable).with_name("fieldfare")
STOP_SECONDS: Final = 60.0
BANKS: Final = NAMES[:3]
HELLO: Final = Call.HELLO.message_type
ANSWER_SECONDS: Final = 60.0


@pytest.fixture(scope="module")
def superlink() -> Iterator[Superlink]:
    folder = Path(tempfile.mkdtemp(prefix="ff-"))
    folder.chmod(0o711)  # another user has to get at a node's own folder in it
    with running_superlink(folder) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _prompt_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server side waits a second for what a node is just about to push; here it does not."""
    pull = functools.partial(pull_objects, initial_backoff=0.05)
    monkeypatch.setattr(http_grid, "pull_objects", pull)


@dataclass
class Nodes:
    """Institutions' nodes as processes, and the folders from which they run."""

    superlink: Superlink
    folder: Path
    stack: ExitStack
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def settings(self, name: str, *, bundles: Sequence[str] = (), register: bool = True) -> Path:
        """A node's own folder: settings, key and authority; its key is registered."""
        folder = self.folder / f"node-{name}"
        (folder / "keys").mkdir(parents=True)
        public = new_node_key(folder / "keys" / "node")
        if register:
            self.superlink.register(public, f"{self.folder.name}-{name}")
        shutil.copy(self.superlink.authority, folder / "authority.pem")
        listed = ", ".join(f'"{b}"' for b in bundles or [self.superlink.bundle()[1]])
        (folder / "node.toml").write_text(
            f'superlink = "{self.superlink.address}"\n'
            f'bundles = [{listed}]\ncustodian = "{self.socket(name)}"\n'
        )
        return folder / "node.toml"

    def socket(self, name: str) -> Path:
        return self.folder / f"run-{name}" / "custodian.sock"

    def serve(self, name: str, custodian: Any, group: str | None = None) -> None:
        """Serve a custodian at its socket until the test ends."""
        self.stack.enter_context(serving(custodian, UnixSocket(self.socket(name), group)))

    def start(
        self, settings: Path, command: Sequence[str | Path] = (COMMAND,)
    ) -> "subprocess.Popen[bytes]":
        """Run `institution node`; what it says goes to node.log beside its settings."""
        arguments = [*command, "institution", "node", "--settings", settings]
        with self.log(settings).open("ab") as log:
            process = subprocess.Popen(arguments, stderr=log, stdout=log)
        self.started.append(process)
        return process

    @staticmethod
    def log(settings: Path) -> Path:
        return settings.with_name("node.log")

    def stop(self) -> None:
        for process in self.started:
            process.terminate()
        for process in self.started:
            process.wait(STOP_SECONDS)


@contextmanager
def nodes_at(superlink: Superlink) -> Iterator[Nodes]:
    folder = Path(tempfile.mkdtemp(prefix="ff-", dir=superlink.folder))
    folder.chmod(0o711)
    with ExitStack() as stack:
        made = Nodes(superlink, folder, stack)
        yield made
        made.stop()


@pytest.fixture
def nodes(superlink: Superlink) -> Iterator[Nodes]:
    superlink.wait_online(0)  # the lease of one that had to be killed would pass for the next
    with nodes_at(superlink) as made:
        yield made


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Custodians of three banks, with ledgers on disk."""
    # The default of 5 s is for custodians in this process; here processes answer over sockets.
    study = make_study(aggregation={"deadline_seconds": ANSWER_SECONDS})
    sums = {name: make_sums(study, 100, seed=i) for i, name in enumerate(BANKS)}
    folder = tmp_path_factory.mktemp("ledgers")
    with LocalFederation(study, sums, Protection.EXACT, seed=0, directory=folder) as federation:
        yield Bench(federation, sums)


@pytest.fixture(scope="module")
def banks(superlink: Superlink, bench: Bench) -> Iterator[Nodes]:
    """The nodes of all three banks, admitted."""
    with nodes_at(superlink) as made:
        for name in bench.names:
            made.serve(name, bench.custodian(name))
            made.start(made.settings(name))
        superlink.wait_online(len(bench.names))
        yield made


def ask(
    grid: Any,
    node: int,
    message_type: str = HELLO,
    seconds: float = ANSWER_SECONDS,
    **records: Any,
) -> Message:
    """Send one message and wait for what comes back."""
    content: Any = {name: ConfigRecord(dict(r)) for name, r in records.items()} or {
        RECORD: ConfigRecord({"study": b"nothing", "last_reply": b""})
    }
    (sent,) = grid.push_messages([Message(RecordDict(content), node, message_type)])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for reply in grid.pull_messages([sent]):
            return reply  # type: ignore[no-any-return]
        time.sleep(0.03)
    raise AssertionError("expected an answer, found none in time")
