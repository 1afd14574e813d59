"""A command typed at a pseudo-terminal, or into pipes: every byte that it wrote to either."""

import io
import os
import pty
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from fieldfare.shared.cli.root import run


def typed(words: list[str], *, terminal: bool) -> tuple[int | str, str]:
    """Return the status of `fieldfare WORDS`, or its defect, and all that it wrote."""
    with _listened(terminal=terminal) as heard, Path(os.devnull).open(encoding="utf-8") as nothing:
        before, sys.stdin = sys.stdin, nothing
        try:
            status: int | str = run(words)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the screen is looked at
            status = f"{type(error).__name__}: {error}"
        finally:
            sys.stdin = before
    return status, heard()


@contextmanager
def _listened(*, terminal: bool) -> Iterator[Callable[[], str]]:
    """Let descriptors 1 and 2, and both streams, be a terminal or a pipe while the block lasts."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        tty.setraw(theirs)
    heard = io.BytesIO()

    def listen() -> None:
        with ExitStack() as done:
            done.callback(os.close, ours)
            while block := _read(ours):
                heard.write(block)

    thread = threading.Thread(target=listen)
    thread.start()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    with ExitStack() as undone:
        undone.callback(thread.join)
        for number, copy in kept:
            os.dup2(theirs, number)
            undone.callback(os.close, copy)
            undone.callback(os.dup2, copy, number)
        own = os.fdopen(theirs, "w", encoding="utf-8", errors="surrogateescape", buffering=1)
        with own, redirect_stdout(own), redirect_stderr(own):
            yield lambda: heard.getvalue().decode("utf-8", "surrogateescape")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # a terminal that nobody holds any more
        return b""
