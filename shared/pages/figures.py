"""Figures by matplotlib, as inline SVG, SVG or PNG: same input, same bytes; text stays text.

For a coordinator's and a simulation's pages alone: an institution has no matplotlib, and what it
draws comes from `charts.py`.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK: Final = "#1f2933"
SOFT: Final = "#52606d"
FAINT: Final = "#d9e2ec"
ACCENT: Final = "#0b5c8a"
ALARM: Final = "#c2410c"
DPI: Final = 120

SETTINGS: Final[Mapping[str, Any]] = {
    "svg.fonttype": "none",  # text stays text: searchable, small, read aloud
    "text.parse_math": False,  # a dollar sign in a bank's name is a dollar sign
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: same metrics everywhere
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
}
_UNSAID: Final = {
    "svg": ("Date", "Creator", "Format", "Type"),  # a date changes the bytes
    "png": ("Software",),
}
_VIEW_BOX: Final = re.compile(r'viewBox="([0-9. -]+)"')


class Drawing:
    """A figure, and its bytes as soon as it is finished."""

    def __init__(self, figure: Figure) -> None:
        """Take a figure that is drawn on."""
        self.figure = figure
        self.content = b""

    def svg(self, alt: str) -> Markup:
        """Return the SVG element under an accessible name, ready for a page."""
        text = self.content.decode()
        return Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(
            _VIEW_BOX.search(text)[1],  # type: ignore[index]
            alt,
        ) + Markup(_inner(text))  # noqa: S704 (matplotlib escapes its text nodes)


@contextmanager
def drawing(
    name: str,
    width: float,
    heights: Sequence[float],
    settings: Mapping[str, Any],
    kind: str = "svg",
) -> Iterator[tuple[list[Axes], Drawing]]:
    """Open a figure with axes one below the other, and write it when the block ends.

    Args:
        name: one of its own in a page.
        width: inches.
        heights: of the axes, inches.
        settings: besides `SETTINGS`.
        kind: svg or png.
    """
    given: dict[Any, Any] = {**SETTINGS, **settings, "svg.hashsalt": name}
    with mpl.rc_context(given), warnings.catch_warnings():
        # Letters that DejaVu lacks only lose their exact width: the reader's own fonts draw them.
        warnings.filterwarnings("ignore", message="Glyph")
        out = Drawing(Figure(figsize=(width, sum(heights)), layout="constrained"))
        axes = out.figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
        yield list(axes[:, 0]), out
        stream, unsaid = io.BytesIO(), dict.fromkeys(_UNSAID[kind])
        out.figure.savefig(stream, format=kind, dpi=DPI, metadata=unsaid)
    out.content = stream.getvalue()


def _inner(svg: str) -> str:
    """Keep what is inside the svg element, without what repeats or leaks into the page.

    matplotlib numbers its groups alike in every figure and styles `*`; coordinates
    are kept to a hundredth, far below a pixel.
    """
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"<>]*_\d+"', "<g", body)
    return re.sub(r' d="[^"<>]*"', lambda path: _rounded(path[0]), body)


def _rounded(path: str) -> str:
    """Round the coordinates of a path to hundredths."""
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", path)
