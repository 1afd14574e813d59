"""The page of a sweep: one HTML file, without scripts or outside resources."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

from fieldfare.shared.pages.templates import page_template
from fieldfare.shared.pages.words import decimals, plain
from fieldfare.simulations.sweeps.keeping import replaced
from fieldfare.simulations.sweeps.pictures import drawn
from fieldfare.simulations.sweeps.screen import HEADS, interval, legend, pays
from fieldfare.simulations.sweeps.summary import Summary, said

PAGE: Final = "sweep.html"
TEMPLATE: Final = resources.files("fieldfare.simulations.sweeps") / PAGE


def sweep_page(name: str, summary: Summary) -> str:
    """Return the page as HTML; the same table gives the same bytes."""
    context = {
        "name": name,
        "points": len({row["point"] for row in summary.rows}),
        "seeds": len(summary.seeds),
        "pays": list(pays(summary)),
        "legend": legend(summary),
        "pictures": list(drawn(summary)),
        "heads": [head for head, _ in HEADS],
        "rows": list(_rows(summary)),
        "failures": sorted({row["failure"] for row in summary.rows if row["failure"]}),
    }
    return page_template(TEMPLATE).render(plain_but_pictures(context))


def plain_but_pictures(context: dict[str, Any]) -> dict[str, Any]:
    """Make strangers' words harmless; pictures escaped theirs already."""
    return {key: value if key == "pictures" else plain(value) for key, value in context.items()}


def _rows(summary: Summary) -> Iterator[dict[str, Any]]:
    varied = list(summary.varied)
    for place in summary.places:
        means = [summary.mean(place, learner) for _, learner in HEADS]
        gain = summary.gain(place)
        yield {
            "place": said(place, varied),
            "means": [decimals(None if one is None else one.value) for one in means],
            "gain": interval(gain),
            "word": "" if gain is None else gain.word,
            "failed": summary.failed(place),
        }


def write_sweep_page(path: Path, name: str, summary: Summary) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: `path` cannot be written.
    """
    replaced(path, sweep_page(name, summary).encode())
