"""A stock SuperLink with TLS and node authentication on loopback, driven as Flower's own tools do.

Nothing of Fieldfare's server side is in it. The ServerApp runs in the test's own process, in
place of the process that Flower would start, so that a test sees what it sees.
"""

import hashlib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto, run_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid
from tests.support.network.certificates import Authority
from tests.support.system.ports import free_port

BIN: Final = Path(sys.executable).parent
START_SECONDS: Final = 120.0
BUNDLE: Final = """\
[project]
name = "fieldfare-bundle"
version = "{version}"

[tool.flwr.app]
publisher = "fieldfare"

[tool.flwr.app.components]
serverapp = "nothing:app"
clientapp = "fieldfare.client.stock_node:app"

[tool.flwr.app.config]
study = ""
run = ""
surprise = ""
"""


def quiet_environment(home: Path) -> dict[str, str]:
    """An environment in which flwr calls nobody."""
    return os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }


def new_node_key(path: Path) -> bytes:
    """Write a node's key; returns its public half as Flower registers it."""
    key = ec.generate_private_key(ec.SECP384R1())
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Superlink:
    """A SuperLink that runs."""

    folder: Path
    address: str
    authority: Path
    command: list[str | Path]
    process: "subprocess.Popen[bytes]" = field(init=False)
    control: Any = None

    def start(self) -> None:
        """Start it, or start it again over the same database."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=quiet_environment(self.folder / "home"),
                stdout=log,
                stderr=log,
            )
        self._wait_until_up()

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def log(self) -> Path:
        return self.folder / "superlink.log"

    def _wait_until_up(self) -> None:
        end = time.monotonic() + START_SECONDS
        trust = ssl.create_default_context(cafile=self.authority)
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if httpx.get(f"https://{self.address}/health", verify=trust).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        self.stop()
        raise AssertionError(f"expected a SuperLink, found none: {self.log.read_text()[-2000:]}")

    def bundle(self, version: str = "1.0.0") -> tuple[bytes, str]:
        """Build a bundle; returns it and its hash. Its code is nowhere: nobody may import it."""
        source = self.folder / f"bundle-{version}"
        source.mkdir(exist_ok=True)
        (source / "pyproject.toml").write_text(BUNDLE.format(version=version))
        (source / "README.md").write_text("Nothing.\n")
        content = build_fab_from_disk(source)
        return content, hashlib.sha256(content).hexdigest()

    def register(self, public: bytes, name: str) -> None:
        self.control.RegisterNode(RegisterNodeRequest(public_key=public, name=name))

    def expel_all(self) -> None:
        """Unregister every node."""
        for node in self.control.ListNodes(ListNodesRequest()).nodes_info:
            if node.status != "unregistered":
                self.control.UnregisterNode(UnregisterNodeRequest(node_id=node.node_id))

    def online(self) -> int:
        """How many nodes are there."""
        nodes = self.control.ListNodes(ListNodesRequest()).nodes_info
        return sum(node.status == "online" for node in nodes)

    def wait_online(self, count: int, seconds: float = START_SECONDS) -> None:
        end = time.monotonic() + seconds
        while self.online() != count:
            assert time.monotonic() < end, f"expected {count} nodes, found {self.online()} online"
            time.sleep(0.1)

    @contextmanager
    def grid(self, version: str = "1.0.0", **configuration: Any) -> Iterator[HttpGrid]:
        """Start a run of a bundle and take the ServerApp's place in it."""
        with self._server_app(self.start_run(version, **configuration)) as grid:
            yield grid

    def start_run(self, version: str = "1.0.0", **configuration: Any) -> str:
        """Start a run of a bundle; returns the token of its ServerApp."""
        content, digest = self.bundle(version)
        self.control.StartRun(
            StartRunRequest(
                fab=fab_to_proto(Fab(digest, content, {})),
                override_config=user_config_to_proto(configuration),
            )
        )
        root = self.authority.read_bytes()
        component = RuntimeVersionHttpInterceptor(component_name="flower-superexec")
        with RuntimeHttpClient.from_server_address(
            self.address, False, root, [component]
        ) as client:
            acquired = client.AcquireTask(
                AcquireTaskRequest(supported_task_types=["flwr-serverapp"])
            )
        token: str = acquired.token
        return token

    @contextmanager
    def _server_app(self, token: str) -> Iterator[HttpGrid]:
        root = self.authority.read_bytes()
        grid = HttpGrid(self.address, insecure=False, root_certificates=root, token=token)
        heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(grid._runtime_client))
        heartbeat.start()
        try:
            given = grid._runtime_client.PullTaskInput(PullTaskInputRequest())
            TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
            TaskIdentity.node_id = given.context.node_id
            grid.set_run(run_from_proto(given.run))
            yield grid
        finally:
            heartbeat.stop()
            grid.close()


@contextmanager
def running_superlink(folder: Path) -> Iterator[Superlink]:
    """Start a stock `flower-superlink`; it is gone at the end."""
    authority = Authority.make(folder)
    files = authority.issue("localhost")
    address = f"127.0.0.1:{free_port()}"
    command: list[str | Path] = [BIN / "flower-superlink", "--isolation", "process"]
    command += ["--ssl-ca-certfile", files.authority, "--ssl-certfile", files.certificate]
    command += ["--ssl-keyfile", files.key, "--enable-supernode-auth"]
    command += ["--disable-runtime-dependency-installation"]
    command += ["--database", folder / "superlink.sqlite"]
    command += ["--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    made = Superlink(folder, address, files.authority, command)
    made.start()
    try:
        with ControlHttpClient.from_server_address(
            address,
            insecure=False,
            root_certificates=files.authority.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        ) as made.control:
            yield made
    finally:
        made.stop()
