"""`fieldfare institution start`: custodian and node under one command, for one user.

In production they are two users' services (docs/institution.md). Errors pass through: the
root command turns them into exit codes.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Annotated, Final

import typer

from fieldfare.client.institution.admin_client import custodian_status
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    HomeOption,
    PassphraseFileOption,
)
from fieldfare.client.institution.cli_node import (
    BAD_INPUT,
    PROCESS,
    RULES,
    SETTINGS_NAME,
    node_environment,
)
from fieldfare.client.institution.custodian_process import STOP_SECONDS, given_line
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.node_settings import NodeSettings
from fieldfare.client.institution.node_state import read_node_state
from fieldfare.client.institution.settings import Settings, admin_socket_path, load_settings
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.supervision import Rules
from fieldfare.shared.supervision_many import Child, supervise_many
from fieldfare.shared.toml_files import load_toml

CUSTODIAN_PROCESS: Final = "fieldfare.client.institution.custodian_process"
CUSTODIAN_RULES: Final = Rules(final=frozenset({0, BAD_INPUT}), grace_seconds=STOP_SECONDS)

start_app = typer.Typer(add_completion=False)


@start_app.command("start")
def start(
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    custodian_only: Annotated[
        bool, typer.Option("--custodian-only", help="No node: it runs elsewhere, or not yet.")
    ] = False,
) -> None:
    """Run the custodian and the node until this is stopped; what fails is started again.

    Stops both when it is told to (Ctrl-C, SIGTERM), and both end if it is killed.
    """
    opened = Home.open(home)
    settings, passphrase = load_settings(opened), read_passphrase(passphrase_file)
    node = opened.path / SETTINGS_NAME
    if not custodian_only and not node.exists():
        raise UsageError(
            f"{node}: expected the node's settings, found none: get an invitation from the "
            "coordinator and join with `fieldfare institution join FILE`, or start with "
            "--custodian-only"
        )
    _check_alone(opened, settings, None if custodian_only else node)
    with tempfile.TemporaryDirectory(prefix="fieldfare-node-") as folder:
        children = [_custodian(opened, passphrase)]
        if not custodian_only:
            environment = node_environment(without_secrets(os.environ, settings), Path(folder))
            children.append(_node(node, environment))
        status = supervise_many(children, _Screen().say)
    raise typer.Exit(status)


def _check_alone(home: Home, settings: Settings, node: Path | None) -> None:
    """Refuse to begin beside a custodian or a node of this home, before anything is started.

    Raises:
        UsageError: one runs.
    """
    running = []
    with suppress(FieldfareError):  # whatever is wrong there, the custodian itself will say
        status = custodian_status(admin_socket_path(home, settings))
        running += [f"a custodian (process {status.process})"] if status else []
    with suppress(FieldfareError):
        running += ["a node"] if node is not None and _node_lives(node) else []
    if running:
        raise UsageError(
            f"{home.path}: expected that nothing runs for it yet, found {' and '.join(running)}: "
            "see `fieldfare institution status`, and end that first"
        )


def _node_lives(settings: Path) -> bool:
    place = settings.absolute().parent / load_toml(settings, NodeSettings).state
    found = read_node_state(place)
    return found is not None and found[1]


def _custodian(home: Home, passphrase: bytes | None) -> Child:
    return Child(
        name="custodian",
        command=[sys.executable, "-I", "-m", CUSTODIAN_PROCESS, str(home.path)],
        environment=os.environ,
        given=given_line(passphrase),
        rules=CUSTODIAN_RULES,
    )


def _node(settings: Path, environment: Mapping[str, str]) -> Child:
    return Child(
        name="node",
        command=[sys.executable, "-I", "-m", PROCESS, str(settings)],
        environment=environment,
        rules=RULES,
    )


def without_secrets(environment: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return the environment without the addresses of databases: the node reads no records."""
    secret = {getattr(source, "uri_environment", None) for source in settings.records}
    kept = environment.items()
    return {name: value for name, value in kept if name not in secret and name[:2] != "PG"}


class _Screen:
    """The standard error, line by line, whoever writes."""

    def __init__(self) -> None:
        self._lock = Lock()

    def say(self, name: str, line: str) -> None:
        """Write a line under a name; children write their own names before theirs already."""
        text = line.removeprefix(f"fieldfare: {name}: ")
        with self._lock, suppress(OSError):  # nobody reads any more: that stops nothing
            typer.echo(f"fieldfare: {name}: {text}", err=True)
