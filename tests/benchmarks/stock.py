"""Time of a round of stock Flower on this machine: its own SuperLink, nodes and strategy.

Everything as Flower ships it, over TLS with node authentication, but nothing that calls home
or installs packages. Its apps send a vector to and fro and do nothing else.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import RunError
from fieldfare.simulations.demo.testbed import free_ports

BIN: Final = Path(sys.executable).parent
START_SECONDS: Final = 60.0
ROUND_SECONDS: Final = 60.0  # nothing is waited for longer than so many for each round
STOP_SECONDS: Final = 10.0
SHOWN: Final = 2000

PROJECT: Final = """\
[project]
name = "stock-exchange"
version = "1.0.0"

[tool.flwr.app]
publisher = "bench"

[tool.flwr.app.components]
serverapp = "stock_exchange.server:app"
clientapp = "stock_exchange.client:app"

[tool.flwr.app.config]
entries = {entries}
rounds = {rounds}
nodes = {nodes}
times = "{times}"
"""

SERVER: Final = '''\
"""Federated averaging of a vector, with the time at the end of each round."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid, context):
    config, times = context.run_config, []

    def note(server_round, arrays):
        times.append(time.monotonic())

    strategy = FedAvg(
        fraction_evaluate=0.0, min_train_nodes=config["nodes"], min_available_nodes=config["nodes"]
    )
    vector = ArrayRecord([np.zeros(config["entries"])])
    strategy.start(grid, vector, num_rounds=config["rounds"], evaluate_fn=note)
    Path(config["times"]).write_text(json.dumps(times))
'''

CLIENT: Final = '''\
"""Send back what came."""

from flwr.app import Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message, context):
    metrics = MetricRecord({"num-examples": 1})
    content = RecordDict({"arrays": message.content["arrays"], "metrics": metrics})
    return Message(content, reply_to=message)
'''

CONNECTION: Final = """\
[superlink]
default = "bench"

[superlink.bench]
address = "{address}"
root-certificates = "{authority}"
"""


@dataclass(frozen=True)
class Fabric:
    """The files and addresses that stock Flower runs with.

    Attributes:
        folder: a new one, for its files.
        authority: PEM of the authority of the certificate, which is for 127.0.0.1.
        certificate: PEM.
        key: PEM of the certificate's key.
        nodes: private node keys (OpenSSH) by name; the public ones lie beside them.
    """

    folder: Path
    authority: Path
    certificate: Path
    key: Path
    nodes: Mapping[str, Path]


def stock_rounds(fabric: Fabric, *, entries: int, rounds: int) -> list[float]:
    """Run stock Flower and return seconds of each round; nothing of it runs afterwards.

    Args:
        fabric: certificates and node keys.
        entries: of the float64 vector that goes to and fro.
        rounds: how many.

    Raises:
        RunError: it did not start, or did not finish.
    """
    fabric.folder.mkdir()
    times = fabric.folder / "times.json"
    port, *ports = free_ports(1 + len(fabric.nodes))
    address = f"127.0.0.1:{port}"
    _write_app(fabric, entries, rounds, times)
    _write_home(fabric, address)
    with ExitStack() as stack:
        stack.callback(_clear, fabric.folder)
        _spawn(stack, fabric, "superlink", _superlink(fabric, port))
        _retried(fabric, ["supernode", "list"])
        for node_port, (name, key) in zip(ports, sorted(fabric.nodes.items()), strict=True):
            public = str(key.with_name(key.name + ".pub"))
            _flwr(fabric, ["supernode", "register", public, "--name", name])
            _spawn(stack, fabric, name, _supernode(fabric, address, key, node_port))
        _flwr(fabric, ["run", str(fabric.folder / "app")])
        _await(times, ROUND_SECONDS * (rounds + 1), fabric.folder)
        time.sleep(0.2)  # written whole
        found: list[float] = json.loads(times.read_text("utf-8"))
    return [after - before for before, after in pairwise(found)]


def _await(times: Path, seconds: float, folder: Path) -> None:
    end = time.monotonic() + seconds
    while not times.exists():
        if time.monotonic() > end:
            raise RunError(
                f"stock Flower: expected an end within {seconds:g} s, found none: see {folder}"
            )
        time.sleep(0.2)


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which Flower calls no other host and finds its own commands."""
    return os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(folder / "home"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }


def _write_app(fabric: Fabric, entries: int, rounds: int, times: Path) -> None:
    package = fabric.folder / "app" / "stock_exchange"
    package.mkdir(parents=True)
    project = PROJECT.format(
        entries=entries, rounds=rounds, nodes=len(fabric.nodes), times=times.absolute()
    )
    (package.parent / "pyproject.toml").write_text(project, "utf-8")
    (package.parent / "README.md").write_text("A vector goes to and fro.\n", "utf-8")
    (package / "__init__.py").write_text("", "utf-8")
    (package / "server.py").write_text(SERVER, "utf-8")
    (package / "client.py").write_text(CLIENT, "utf-8")


def _write_home(fabric: Fabric, address: str) -> None:
    home = fabric.folder / "home"
    home.mkdir()
    connection = CONNECTION.format(address=address, authority=fabric.authority.absolute())
    (home / "config.toml").write_text(connection, "utf-8")


def _superlink(fabric: Fabric, port: int) -> list[str]:
    return [
        str(BIN / "flower-superlink"),
        *("--ssl-ca-certfile", str(fabric.authority), "--ssl-certfile", str(fabric.certificate)),
        *("--ssl-keyfile", str(fabric.key), "--enable-supernode-auth"),
        *("--disable-runtime-dependency-installation",),
        *("--database", str(fabric.folder / "superlink.sqlite")),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]


def _supernode(fabric: Fabric, address: str, key: Path, port: int) -> list[str]:
    return [
        str(BIN / "flower-supernode"),
        *("--superlink", address, "--root-certificates", str(fabric.authority)),
        *("--auth-supernode-private-key", str(key), "--port", str(port)),
    ]


def _spawn(stack: ExitStack, fabric: Fabric, name: str, command: Sequence[str]) -> None:
    folder = fabric.folder / name  # a home for each: nodes unpack apps there
    folder.mkdir()
    with (fabric.folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    stack.callback(_end, process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    process.kill()
    process.wait()


def _clear(folder: Path) -> None:
    """End what Flower's processes started and left: it is in groups of its own."""
    end = time.monotonic() + STOP_SECONDS
    while (left := working_in(folder)) and time.monotonic() < end:
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)  # a killed process is there until the system took it down


def working_in(folder: Path) -> list[int]:
    """Return the processes whose environment names a folder, as `environment` does."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"{folder}/".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def _retried(fabric: Fabric, arguments: Sequence[str]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            _flwr(fabric, arguments)
        except RunError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return


def _flwr(fabric: Fabric, arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [str(BIN / "flwr"), *arguments],
        env=environment(fabric.folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RunError(
            f"`flwr {' '.join(arguments)}` ended with {done.returncode}: "
            f"{(done.stderr or done.stdout)[-SHOWN:]}"
        )
