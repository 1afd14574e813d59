"""Commands of a bed in this process: the same commands, without a start of Python for each."""

import io
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from threading import Lock
from typing import Final

from fieldfare.shared.cli.root import run
from fieldfare.shared.study.allowed_packages import VARIABLE

_ALONE: Final = Lock()  # standard output is the process's


def in_this_process(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command here and return its output; one at a time."""
    out, errors = io.StringIO(), io.StringIO()
    with _ALONE, _permission_kept(), redirect_stdout(out), redirect_stderr(errors):
        status = run(command)
    return subprocess.CompletedProcess(list(command), status, out.getvalue(), errors.getvalue())


@contextmanager
def _permission_kept() -> Iterator[None]:
    """Let what one command allows reach no other, as if each were a process."""
    before = os.environ.get(VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
