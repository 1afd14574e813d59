"""Commands of a bed in this process: the same commands, without a start of Python for each."""

import io
import subprocess
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from threading import Lock
from typing import Final

from fieldfare.shared.cli import run

_ALONE: Final = Lock()  # standard output is the process's


def in_this_process(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command here and return what it printed; one at a time."""
    out, errors = io.StringIO(), io.StringIO()
    with _ALONE, redirect_stdout(out), redirect_stderr(errors):
        status = run(command)
    return subprocess.CompletedProcess(list(command), status, out.getvalue(), errors.getvalue())
