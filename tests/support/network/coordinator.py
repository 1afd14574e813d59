"""A coordinator's home and its SuperLink as a process, for tests of what stands on them."""

import base64
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.system.ports import free_ports

from fieldfare.server.home.initial_setup import CoordinatorSetup, create_coordinator
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.superlink.retention import flower_environment

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 60.0
SUPERLINK: Final = "fieldfare.server.superlink.process"


def new_home(path: Path) -> CoordinatorHome:
    """A coordinator on loopback, on free ports."""
    public, local = free_ports(2)
    setup = CoordinatorSetup(
        name="Coordinator",
        address=f"127.0.0.1:{public}",
        bind=f"127.0.0.1:{public}",
        local_port=local,
    )
    home = create_coordinator(path, setup, datetime.now(UTC))
    text = home.settings.read_text()
    home.settings.write_text(
        text.replace("resume_runs = true", "resume_runs = false")
    )  # a test does
    return home


def new_node() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A node's key, and its public half as `register_node` takes it."""
    key = ec.generate_private_key(ec.SECP384R1())
    return key, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def script_with_limits(folder: Path, **limits: float) -> Path:
    """A SuperLink's process whose limits of connections are a test's, as a script in a folder."""
    script = folder / "impatient.py"
    given = ", ".join(f"{name}={value}" for name, value in limits.items())
    script.write_text(
        f"import sys\nfrom {SUPERLINK} import main\n"
        "from fieldfare.server.superlink.connections import ConnectionLimits\n"
        f"sys.exit(main(sys.argv[1:], ConnectionLimits({given})))\n"
    )
    return script


@dataclass
class RunningSuperlink:
    """A SuperLink that runs over a home."""

    home: CoordinatorHome
    process: "subprocess.Popen[bytes]" = field(init=False)
    seconds: float = 0.0

    @property
    def public(self) -> str:
        return load_settings(self.home).bind

    @property
    def local(self) -> str:
        return load_settings(self.home).local_address

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.home.authority)

    def log(self) -> str:
        return (self.home.run / "superlink.log").read_text()

    def start(self, command: Sequence[str] = ()) -> None:
        """Start it, and wait until it serves; the command is another one in its place."""
        begun = time.monotonic()
        with (self.home.run / "superlink.log").open("ab") as log:
            self.process = subprocess.Popen(
                command or [sys.executable, "-I", "-m", SUPERLINK, str(self.home.path)],
                env=flower_environment({}, self.home.run),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        while not self.healthy():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < begun + START_SECONDS, self.log()
            time.sleep(0.05)
        self.seconds = time.monotonic() - begun

    def healthy(self) -> bool:
        try:
            return all(
                httpx.get(f"https://{place}/health", verify=self.trust).is_success
                for place in (self.public, self.local)
            )
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            if self.process.stdin:
                self.process.stdin.close()


@contextmanager
def running_superlink(home: CoordinatorHome) -> Iterator[RunningSuperlink]:
    """Start a home's SuperLink; it is gone at the end."""
    made = RunningSuperlink(home)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(key: ec.EllipticCurvePrivateKey, *, age: float = 0.0, shown: bytes = b"") -> Any:
    """The headers by which a node proves itself; `shown` is another's public key."""
    stamp = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    signature = key.sign(stamp.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        "flwr-public-key": base64.b64encode(shown or spki(key)).decode(),
        "flwr-signature": base64.b64encode(signature).decode(),
        "flwr-timestamp": stamp,
    }
