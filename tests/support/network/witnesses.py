"""Witnesses: one of our own that keeps to C2SP tlog-witness word for word, and Debian's."""

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.system.processes import until

from fieldfare.server.home.settings import WitnessSection
from fieldfare.server.upkeep.submission import WitnessAnswer, WitnessUnreachableError
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.transcript.merkle import HASH_BYTES, node_hash
from fieldfare.shared.transcript.notes import COSIGNED, LogCheckpoint, Note, NoteKey, NoteSignature

DEBIAN = Path("/usr/bin")
# Debian builds it for the language of before Go 1.22, whose server knows no "POST /add-checkpoint".
GO = {**os.environ, "GODEBUG": "httpmuxgo121=0"}


def is_grown(old: int, size: int, before: bytes, root: bytes, path: Sequence[bytes]) -> bool:
    """RFC 9162 section 2.1.4.2: a consistency proof, verified."""
    if old == size:
        return not path and before == root
    nodes = list(path)
    if old & (old - 1) == 0:
        nodes.insert(0, before)
    if not nodes or not 0 < old < size:
        return False
    fn, sn = old - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = nodes[0]
    for one in nodes[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(one, first), node_hash(one, second)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, one)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and (first, second) == (before, root)


@dataclass
class SpecWitness:
    """A witness in memory: keeps the last checkpoint of each log, and signs what grew from it."""

    name: str = "witness.example/w1"
    now: int = 1_750_000_000
    logs: dict[str, NoteKey] = field(default_factory=dict)
    seen: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    down: bool = False

    def __post_init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.key = NoteKey(self.name, COSIGNED, self._key.public_key().public_bytes_raw())

    @property
    def section(self) -> WitnessSection:
        return WitnessSection(url="https://witness.example/", key=self.key.text)

    def knows(self, *keys: NoteKey) -> "SpecWitness":
        self.logs |= {key.name: key for key in keys}
        return self

    def post(self, url: str, body: bytes) -> WitnessAnswer:
        """Answer `POST add-checkpoint`."""
        assert url == "https://witness.example/add-checkpoint"
        if self.down:
            raise WitnessUnreachableError("it gave no answer in time")
        self.bodies.append(body)
        header, _, rest = body.partition(b"\n\n")
        first, *path = header.decode().split("\n")
        note = Note.from_bytes(rest)
        told = LogCheckpoint.from_text(note.text)
        if told.origin not in self.logs:
            return WitnessAnswer(404, b"")
        try:
            signed = note.is_signed_by(self.logs[told.origin])
        except ProtocolError:
            signed = False
        if not signed:
            return WitnessAnswer(403, b"")
        old = int(re.fullmatch(r"old (\d+)", first).group(1))  # type: ignore[union-attr]
        known, before = self.seen.get(told.origin, (0, b""))
        if old > told.size:
            return WitnessAnswer(400, b"")
        if old != known:
            return WitnessAnswer(409, b"%d\n" % known)
        proof = [base64.b64decode(one) for one in path]
        grown = is_grown(old, told.size, before, told.root, proof) if old else not proof
        if not grown or any(len(one) != HASH_BYTES for one in proof):
            return WitnessAnswer(422, b"")
        self.seen[told.origin] = (told.size, told.root)
        return WitnessAnswer(200, self.cosigned(note.text).encode())

    def cosigned(self, text: str) -> str:
        """A cosignature/v1 line."""
        signature = self._key.sign(f"cosignature/v1\ntime {self.now}\n{text}".encode())
        return NoteSignature(self.name, self.key.id, self.now.to_bytes(8, "big") + signature).line


@dataclass
class Litewitness:
    """Debian's litewitness with a key in an ssh-agent; started and ended as often as wanted."""

    folder: Path
    port: int
    programs: Path = DEBIAN
    name: str = "witness.example/lite"

    def __post_init__(self) -> None:
        self._agent = self._witness = None
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "key"], check=True
        )
        told = (self.folder / "key.pub").read_text().split()[1]
        self.key = NoteKey(self.name, COSIGNED, base64.b64decode(told)[-32:])

    _agent: "subprocess.Popen[bytes] | None" = None
    _witness: "subprocess.Popen[bytes] | None" = None

    @property
    def section(self) -> WitnessSection:
        return WitnessSection(url=f"http://127.0.0.1:{self.port}/", key=self.key.text)

    def control(self, *arguments: str) -> None:
        """Run witnessctl on its database."""
        command = [
            str(self.programs / "witnessctl"),
            arguments[0],
            "-db",
            str(self.folder / "witness.db"),
        ]
        subprocess.run([*command, *arguments[1:]], check=True, capture_output=True)

    def add(self, log: NoteKey) -> None:
        """Make it known of a log and its key."""
        self.control("add-log", "-origin", log.name)
        self.control("add-key", "-origin", log.name, "-key", log.text)

    def start(self) -> None:
        agent = self.folder / "agent"
        if self._agent is None:
            self._agent = subprocess.Popen(
                ["ssh-agent", "-D", "-a", agent],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            until(agent.is_socket)
            subprocess.run(
                ["ssh-add", "-q", self.folder / "key"],
                check=True,
                capture_output=True,
                env={"SSH_AUTH_SOCK": str(agent)},
            )
        shown = subprocess.run(
            ["ssh-keygen", "-lf", self.folder / "key.pub"],
            check=True,
            capture_output=True,
            text=True,
        )
        log = self.folder / "log"
        with log.open("wb") as out:
            self._witness = subprocess.Popen(
                [
                    self.programs / "litewitness",
                    "-db",
                    self.folder / "witness.db",
                    "-name",
                    self.name,
                    "-key",
                    shown.stdout.split()[1],
                    "-listen",
                    f"127.0.0.1:{self.port}",
                    "-ssh-agent",
                    agent,
                ],
                stdout=out,
                stderr=out,
                env=GO,
            )
        until(lambda: "listening" in log.read_text())
        assert self.key.text in log.read_text()  # it reads its key as we do

    def stop(self) -> None:
        _end(self._witness)
        self._witness = None

    def close(self) -> None:
        self.stop()
        _end(self._agent)
        self._agent = None


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)


@contextmanager
def litewitness(folder: Path, port: int, programs: Path = DEBIAN) -> Iterator[Litewitness]:
    """A witness that runs; the folder has a short path, for a socket is in it."""
    found = Litewitness(folder, port, programs)
    try:
        yield found
    finally:
        found.close()
        shutil.rmtree(folder, ignore_errors=True)
