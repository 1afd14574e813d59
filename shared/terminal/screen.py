"""The terminal of an institution's commands: a console, colours, and foreign text made plain.

What a study says is text of somebody else's: nothing of it moves the cursor or sets colours.

The terminal that coordinator commands write to.
"""

from typing import Final

from rich.console import Console

WIDTH: Final = 100  # where the terminal's is not known
MOST_CHARACTERS: Final = 2000  # a purpose is shown whole: what is cut off is not approved
SHORT: Final = 12  # digits of an id that are shown
GOOD: Final = "green"
BAD: Final = "bold red"


def console() -> Console:
    """Return a console on the standard output, 100 columns wide where it is no terminal."""
    found = Console(highlight=False, soft_wrap=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)


def plain(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a foreign text on one line, cut, without control characters."""
    line = "".join(c if c.isprintable() else " " for c in text[: most + 1])
    return line if len(text) <= most else line[: most - 3] + "..."


# -- cli screen -----------------------------------------------------------------------------------
