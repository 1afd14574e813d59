"""A plot: shown by a notebook where it stands, written to a file where somebody asks for it."""

from html import escape
from pathlib import Path

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.report.pictures import Picture

_SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
_MOST_WIDTH = "max-width: 34rem"


class Plot:
    """One picture with its title and a caption, as SVG; text in it stays text.

    Attributes:
        title: what it shows.
        caption: how to read it.
        svg: the picture, an SVG element under an accessible name.
    """

    def __init__(self, picture: Picture) -> None:
        """Take a picture of a report."""
        self.title, self.caption, self.svg = picture.title, picture.caption, str(picture.svg)

    def save(self, path: str | Path) -> Path:
        """Write it as a file that ends in .svg; returns the path.

        Raises:
            UsageError: another ending.
            OSError: it cannot be written.
        """
        path = Path(path)
        if path.suffix != ".svg":
            raise UsageError(f"expected a file that ends in .svg, found {path.name!r}")
        path.write_text(self.svg.replace("<svg ", _SVG, 1) + "\n", encoding="utf-8")
        return path

    def __repr__(self) -> str:
        """Say what it is in one line."""
        return f"<Plot {self.title!r}: .save(path) writes it, a notebook shows it>"

    def _repr_html_(self) -> str:
        return (
            f'<figure style="{_MOST_WIDTH}"><p><strong>{escape(self.title)}</strong></p>{self.svg}'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


def plot_of(picture: Picture | None, why: str) -> Plot:
    """Return a plot.

    Args:
        picture: as a report has it; None where it has none.
        why: what is said then.

    Raises:
        UsageError: there is none.
    """
    if picture is None:
        raise UsageError(why)
    return Plot(picture)
