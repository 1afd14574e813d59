"""What stands on stderr while something goes on: a bar, and no line of a log across it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fieldfare.shared.terminal.screen import PlainConsole
from fieldfare.shared.terminal.streams import plain_streams
from fieldfare.shared.terminal.texts import one_line

Said = Callable[[str, int, int], None]


@contextmanager
def progress_bar(*, visible: bool | None = None, begins: str = "opening the run") -> Iterator[Said]:
    """Show a bar while the block lasts, and take it away at its end; gives what moves it.

    Args:
        visible: None: where stderr is a terminal.
        begins: what goes on before anything is told.
    """
    errors = PlainConsole(stderr=True)
    shown = errors.is_terminal if visible is None else visible
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=errors, transient=True, disable=not shown)
    with progress as bars, plain_streams():  # lines go above the bar, which would read colours
        bar = bars.add_task(begins, total=None)
        yield lambda what, done, total: bars.update(
            bar, description=one_line(what), completed=done, total=total
        )


@contextmanager
def without_log(name: str) -> Iterator[None]:
    """Keep a logger's lines off the screen, but for errors, while the block lasts."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
