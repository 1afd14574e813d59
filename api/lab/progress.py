"""How far a run is: a bar on a terminal, a bar in a notebook, or silence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from fieldfare.shared.terminal.stderr import Said, progress_bar


@contextmanager
def shown(wanted: bool | None) -> Iterator[Said]:
    """Show progress while the block lasts, and take it away at its end.

    Args:
        wanted: None: on a terminal's stderr and in a notebook; False: nowhere; True: on stderr,
            whatever it is.
    """
    handle = None if wanted is False else _notebook()
    if handle is not None:
        yield lambda what, done, total: handle.update(_bar(what, done, total), raw=True)
        handle.update(_page(""), raw=True)
        return
    with progress_bar(visible=wanted) as said:
        yield said


def _notebook() -> Any:
    """Return a place in the notebook's output that can be written anew; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415 -- it is loaded already

    return display(_page(""), raw=True, display_id=True)


def _bar(what: str, done: int, total: int) -> dict[str, str]:
    return _page(f'<progress value="{done}" max="{max(1, total)}"></progress> {escape(what)}')


def _page(html: str) -> dict[str, str]:
    return {"text/html": html, "text/plain": ""}
