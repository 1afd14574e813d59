"""`fieldfare institution start`: small, since it lives as long as the processes that it starts."""

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.node import BAD_INPUT, PROCESS, RULES, SETTINGS_NAME, node_environment
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    PassphraseFileOption,
    identity_secret,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import (
    STOP_SECONDS,
    HomeSettings,
    load_settings,
)
from fieldfare.client.node.settings import NodeSettings
from fieldfare.client.node.state import read_node_state
from fieldfare.client.wire.admin_client import custodian_status
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.study.toml import load_toml
from fieldfare.shared.system import processes
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.watch.log import SupervisedLog, in_json

CUSTODIAN_PROCESS: Final = "fieldfare.client.daemon.process"
NOTICES_PROCESS: Final = "fieldfare.client.oversight.notices_process"
CUSTODIAN_RULES: Final = processes.RestartRules(
    final=frozenset({0, BAD_INPUT}), grace_seconds=STOP_SECONDS
)


@app.command("institution.start")
def start(
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    custodian_only: Annotated[
        bool, typer.Option("--custodian-only", help="No node: it runs elsewhere, or not yet.")
    ] = False,
) -> None:
    """Run the custodian and the node until this is stopped; a process that fails starts again.

    Stops both when it is told to (Ctrl-C, SIGTERM), and both end if it is killed.
    """
    keep_out_of_dumps()
    opened = Home.open(home)
    settings, passphrase = load_settings(opened), identity_secret(opened, passphrase_file)
    node = opened.path / SETTINGS_NAME
    if not custodian_only and not node.exists():
        raise UsageError(
            f"{node}: expected the node's settings, found none: get an invitation from the "
            "coordinator and join with `fieldfare institution join FILE`, or start with "
            "--custodian-only"
        )
    if not custodian_only:
        _check_reaches(node, settings)
    _check_alone(opened, None if custodian_only else node)
    with tempfile.TemporaryDirectory(prefix="fieldfare-node-") as folder:
        children = [_custodian(opened, passphrase)]
        if not custodian_only:
            environment = node_environment(without_secrets(os.environ, settings), Path(folder))
            children.append(_node(node, environment))
        if opened.notices.exists():
            children.append(_notices(opened, settings))
        if settings.casework.folder or opened.console.is_dir():
            from fieldfare.client.desk.place import desk_child  # noqa: PLC0415 -- few have one

            children.append(desk_child(opened.path, passphrase))
        file = settings.watch.log_file
        screen = SupervisedLog(opened.resolve(file) if file else None)
        status = processes.supervise_many(children, screen.say)
    raise typer.Exit(status)


def _check_reaches(node: Path, settings: HomeSettings) -> None:
    """Refuse a node beside the one that runs elsewhere: both would take the coordinator's messages.

    Raises:
        UsageError: the custodian listens at a port, and these settings know a socket that is none.
        StudyError: the node's settings have mistakes.
    """
    if settings.custodian.listen and isinstance(load_toml(node, NodeSettings).custodian, str):
        raise UsageError(
            f"{node}: expected [custodian] with {settings.custodian.listen}, where the custodian "
            "listens, found a socket: where the node runs on another machine, start with "
            "--custodian-only"
        )


def _check_alone(home: Home, node: Path | None) -> None:
    """Refuse to begin beside a custodian or a node of this home, before anything is started.

    Raises:
        UsageError: one runs.
    """
    running = []
    with suppress(FieldfareError):  # whatever is wrong there, the custodian itself will say
        running += _custodians(home.admin_socket)
    with suppress(FieldfareError):
        running += ["a node"] if node is not None and _node_lives(node) else []
    if running:
        raise UsageError(
            f"{home.path}: expected that nothing runs for it yet, found {' and '.join(running)}: "
            "see `fieldfare institution status`, and end that first"
        )


def _custodians(socket: Path) -> list[str]:
    """Say which custodian serves, if one does."""
    status = custodian_status(socket)
    return [f"a custodian (process {status.process})"] if status else []


def _node_lives(settings: Path) -> bool:
    place = settings.absolute().parent / load_toml(settings, NodeSettings).state
    found = read_node_state(place)
    return found is not None and found[1]


def _custodian(home: Home, passphrase: bytes | None) -> processes.Child:
    return processes.Child(
        name="custodian",
        command=[sys.executable, "-I", "-m", CUSTODIAN_PROCESS, str(home.path)],
        environment=in_json(os.environ),
        given=processes.given_line(passphrase),
        rules=CUSTODIAN_RULES,
    )


def _node(settings: Path, environment: Mapping[str, str]) -> processes.Child:
    return processes.Child(
        name="node",
        command=[sys.executable, "-I", "-m", PROCESS, str(settings)],
        environment=in_json(environment),
        rules=RULES,
    )


def _notices(home: Home, settings: HomeSettings) -> processes.Child:
    """Return the process that sends notices: it gets no passphrase and no address of records."""
    place = str(home.admin_socket)
    return processes.Child(
        name="notices",
        command=[sys.executable, "-I", "-m", NOTICES_PROCESS, str(home.path), place],
        environment=in_json(without_secrets(os.environ, settings)),
    )


def without_secrets(environment: Mapping[str, str], settings: HomeSettings) -> dict[str, str]:
    """Return the environment without the addresses of databases: the node reads no records."""
    secret = {getattr(source, "uri_environment", None) for source in settings.records}
    kept = environment.items()
    return {name: value for name, value in kept if name not in secret and name[:2] != "PG"}
