"""`fieldfare coordinator start`: the SuperLink and the runs, in the foreground.

Errors pass through: the root command turns them into exit codes.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer

from fieldfare.server.cli_home import DEFAULT_HOME, HomeOption, PassphraseFileOption
from fieldfare.server.flower_environment import flower_environment
from fieldfare.server.founding import certificate_trouble, load_signing_key
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.run_process import line_of
from fieldfare.server.superlink_process import terms_of
from fieldfare.shared.errors import UsageError
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.supervision import Rules
from fieldfare.shared.supervision_many import Child, supervise_many

SUPERLINK: Final = "fieldfare.server.superlink_process"
RUNNER: Final = "fieldfare.server.runner_process"
BAD_INPUT: Final = 2
SUPERLINK_RULES: Final = Rules(final=frozenset({0, BAD_INPUT}))
RUNNER_RULES: Final = Rules(final=frozenset({0, BAD_INPUT}), grace_seconds=20.0)  # it ends runs

start_app = typer.Typer(add_completion=False)


@start_app.command("start")
def start(home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None) -> None:
    """Serve nodes and runs; goes on until it is stopped.

    Opens the port that nodes need and, on 127.0.0.1 only, one for this host's own commands.
    """
    opened = CoordinatorHome.open(home)
    passphrase = read_passphrase(passphrase_file)
    load_signing_key(opened, passphrase)  # now, not when the first run needs it
    terms_of(opened)
    trouble = certificate_trouble(opened, datetime.now(UTC))
    if trouble:
        _say("superlink", trouble)
    with _only_one(opened):
        children = (_superlink(opened), _runner(opened, passphrase))
        status = supervise_many(children, _say)
    raise typer.Exit(status)


def _superlink(home: CoordinatorHome) -> Child:
    return Child(
        name="superlink",
        command=[sys.executable, "-I", "-m", SUPERLINK, str(home.path)],
        environment=flower_environment(os.environ, home.run),
        rules=SUPERLINK_RULES,
    )


def _runner(home: CoordinatorHome, passphrase: bytes | None) -> Child:
    return Child(
        name="runs",
        command=[sys.executable, "-I", "-m", RUNNER, str(home.path)],
        environment=flower_environment(os.environ, home.run),
        given=line_of(passphrase),
        rules=RUNNER_RULES,
    )


def _say(name: str, text: str) -> None:
    typer.echo(f"fieldfare: {name}: {text}", err=True)


@contextmanager
def _only_one(home: CoordinatorHome) -> Iterator[None]:
    """Hold the home against a second start; the lock ends with this process, however it ends."""
    descriptor = os.open(_lock(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise UsageError(
                f"{home.path}: expected a coordinator that does not run, found one that runs as "
                f"process {other}: end that one first, or give another --home"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(home: CoordinatorHome) -> Path:
    return home.run / "start.lock"
