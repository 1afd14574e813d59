"""Figures on joining in plain words: the verdict, sections with a table or a paragraph each.

The page and the terminal show the same sections, so they cannot disagree. Plain ASCII.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from fieldfare.shared.joining.rows import LEAST_SHOWN
from fieldfare.shared.pages.templates import sentence, sentence_macros
from fieldfare.shared.pages.words import decimals, plain, signed

Figures = Mapping[str, Any]

NOTHING: Final = "-"


class JoinSection(NamedTuple):
    """A part of the page.

    Attributes:
        anchor: its place.
        title: what it is about.
        text: sentences, one paragraph.
        heads: of a table's columns; empty without a table.
        rows: of the table, a text for each column.
    """

    anchor: str
    title: str
    text: str
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def answer(found: Figures) -> str:
    """Return the verdict in one sentence."""
    return _sentence(found["verdict"])


def _sentence(said: Figures) -> str:
    gain = said["gain"]
    shown = f" ({interval(gain)})" if gain else ""
    return f"{str(said['word']).capitalize()}: {said['why']}{shown}."


def losers(found: Figures) -> str:
    """Name the institutions that gain nothing, or of which nothing can be said; empty: none."""
    lines = []
    for word, what in (
        ("no", "gains nothing"),
        ("not worth it", "does not gain enough to show"),
        ("too few to say", "has too few held-out cases to say"),
    ):
        names = [plain(one["name"]) for one in found["institutions"] if one["word"] == word]
        if names:
            lines.append(f"{', '.join(names)} {what if len(names) == 1 else _many(what)}")
    return "; ".join(lines) + "." if lines else ""


def _many(what: str) -> str:
    first, _, rest = what.partition(" ")
    return f"{ {'gains': 'gain', 'does': 'do', 'has': 'have'}[first] } {rest}"


def interval(span: Figures | None) -> str:
    """Write a gain with its interval."""
    if not span:
        return NOTHING
    return f"{signed(span['value'])}; {signed(span['low'])} to {signed(span['high'])}"


def sections(found: Figures) -> list[JoinSection]:
    """Return every part that is known, the most telling first."""
    tables = (_labels(found), _institutions(found), _newcomer(found))
    return [*filter(None, tables), *_paragraphs(found)]


def _hundred(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.0f}"


def _own_cells(row: Figures) -> tuple[str, ...]:
    """Return average precision, its gain, cases found of 100, and their gain."""
    models = [row[name] or {} for name in ("alone", "shared", "at_home")]
    return (
        ", ".join(decimals(one.get("precision")) for one in models),
        interval(row["gain"]),
        ", ".join(_hundred(one.get("found")) for one in models),
    )


OWN_HEADS: Final = (
    "average precision:\nown best, shared,\nat home",
    "gain at home",
    "found of 100:\nown, shared,\nat home",
)


def _labels(found: Figures) -> JoinSection:
    rows = [
        (f"{row['labels']:.0%}", _count(found, row["learned"]), *_own_cells(row))
        for row in found["labels"]
    ]
    heads = ("labels", "own\ncases", *OWN_HEADS)
    return JoinSection(
        "labels",
        f"Own {found['units']}, with fewer labels",
        _text("labels", found),
        heads,
        tuple(rows),
    )


def _count(found: Figures, number: float) -> str:
    """Write a count; an institution's own page shows none below 5."""
    if found["place"] == "institution" and 0 < number < LEAST_SHOWN:
        return f"under {LEAST_SHOWN}"
    return f"{number:,.0f}"


def _institutions(found: Figures) -> JoinSection | None:
    if len(found["institutions"]) < 2:  # noqa: PLR2004 (one is the whole)
        return None
    rows = [
        (
            plain(one["name"])[:16],
            one["word"],
            interval(one["gain"]),
            _points(one["gain_found"]),
            f"{one['cases']:,}",
        )
        for one in found["institutions"]
    ]
    heads = ("institution", "joining", "gain in precision", "more found of 100", "held out")
    text = f"Each by the same rule, on its own held-out {found['units']}. {losers(found)}"
    return JoinSection("institutions", "Each institution", text.strip(), heads, tuple(rows))


def _points(span: Figures | None) -> str:
    if not span:
        return NOTHING
    value, low, high = (100 * span[end] for end in ("value", "low", "high"))
    return f"{value:+.0f}; {low:+.0f} to {high:+.0f}"


def _newcomer(found: Figures) -> JoinSection | None:
    if not found["newcomer"]:
        return None
    rows = [
        (f"{row['labels']:.0f}", _count(found, row["cases"]), *_own_cells(row))
        for row in found["newcomer"]
    ]
    heads = ("labels", "held\nout", *OWN_HEADS)
    return JoinSection("newcomer", "A newcomer", _text("newcomer", found), heads, tuple(rows))


def _text(name: str, found: Figures) -> str:
    """Return a paragraph of `sentences.jinja`."""
    return sentence(_macros(), name, found)


@cache
def _macros() -> Any:
    template = resources.files("fieldfare.shared.joining") / "sentences.jinja"
    return sentence_macros(template, interval=interval, of_100=_hundred, points=_points)


PARAGRAPHS: Final = {
    "rare": "Roles that are rare here",
    "left_out": "A scenario never seen here",
    "months": "A scenario that is new",
    "reviews": "Work",
}


def _paragraphs(found: Figures) -> Iterator[JoinSection]:
    """Yield the parts without a table."""
    for name, title in PARAGRAPHS.items():
        if found[name]:
            yield JoinSection(name.replace("_", "-"), title, _text(name, found))
    yield JoinSection("privacy", "What it costs in privacy", _text("privacy", found))
    yield JoinSection("rule", "How this is judged", _text("rule", found))
    if found["unknown"]:
        yield JoinSection("unknown", "What this page does not know", " ".join(found["unknown"]))


class GainMark(NamedTuple):
    """An interval in the picture, in SVG units."""

    name: str
    y: float
    low: float
    high: float
    at: float


WIDTH, LEFT, RIGHT, LINE, TOP = 360.0, 104.0, 8.0, 22.0, 14.0


class GainPicture(NamedTuple):
    """Intervals of the gain below each other.

    Attributes:
        marks: all institutions together first.
        zero: where no gain is.
        height: of the picture.
        ends: the scale's ends, place and text.
        alt: what it shows, in words.
    """

    marks: list[GainMark]
    zero: float
    height: float
    ends: list[tuple[float, str]]
    alt: str


def picture(found: Figures) -> GainPicture | None:
    """Lay the gains of all and of each institution out; None without any."""
    named = [("all", found["verdict"]["gain"]), *_named(found)]
    known = [(name, gain) for name, gain in named if gain]
    if not known:
        return None
    low = min(0.0, *(gain["low"] for _, gain in known))
    high = max(0.0, *(gain["high"] for _, gain in known))
    reach = (high - low) or 1.0

    def place(value: float) -> float:
        return float(LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / reach)

    marks = [
        GainMark(name[:14], TOP + LINE * row, place(g["low"]), place(g["high"]), place(g["value"]))
        for row, (name, g) in enumerate(known)
    ]
    alt = "; ".join(f"{name} {interval(gain)}" for name, gain in known)
    ends = [(place(low), signed(low, 2)), (place(high), signed(high, 2))]
    return GainPicture(marks, place(0.0), TOP + LINE * len(known) + 8, ends, f"Gain: {alt}")


def _named(found: Figures) -> Iterator[tuple[str, Any]]:
    if len(found["institutions"]) > 1:
        for one in found["institutions"]:
            yield plain(one["name"]), one["gain"]
