"""The terminal that coordinator commands write to."""

from typing import Final

from rich.console import Console

WIDTH: Final = 100  # where the terminal's is not known


def console() -> Console:
    """Return a console on the standard output, 100 columns wide where it is no terminal."""
    found = Console(highlight=False, soft_wrap=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)
