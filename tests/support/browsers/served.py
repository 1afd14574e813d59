"""A console as a process of its own, as people start it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from tests.support.system.ports import free_port

from fieldfare.shared.cli.root import run

Served = tuple[str, Callable[..., str]]


@contextmanager
def served(
    home: Path,
    capfd: pytest.CaptureFixture[str],
    log: Path | None = None,
) -> Iterator[Served]:
    """Serve a home's console as a process; its address, and what adds an account, for a link.

    What the process says goes to `log`, where there is one.
    """
    listen = f"127.0.0.1:{free_port()}"
    at = ("--home", str(home), "--listen", listen)

    def link(name: str, role: str = "analyst") -> str:
        account = ("console", "account", "add", name, "--role", role)
        assert run((*account, *at)) == 0
        return capfd.readouterr().out.split("link=")[1][:43]

    link("first", "operator")
    with started(home, listen, log) as address:
        yield address, link


@contextmanager
def started(home: Path, listen: str, log: Path | None = None) -> Iterator[str]:
    """Serve a home's console as a process where accounts are already; its address."""
    at = ("--home", str(home), "--listen", listen)
    command = [sys.executable, "-m", "fieldfare", "console", *at]
    with (
        nullcontext() if log is None else log.open("a") as kept,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=kept, text=True) as process,
    ):
        assert process.stdout
        said = process.stdout
        try:
            for line in said:
                if listen in line:
                    break
            yield f"http://{listen}"
        finally:
            process.terminate()
            process.wait(60)
            if kept:
                kept.write(said.read())
