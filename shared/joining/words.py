"""Figures on joining in plain words: the verdict, sections with a table each.

The page and the terminal show the same sections, so they cannot disagree. Plain ASCII.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from fieldfare.shared.joining.rows import LEAST_SHOWN
from fieldfare.shared.pages.words import (
    best_guess,
    decimals,
    odds_factor,
    one_in,
    percent,
    plain,
    short,
    signed,
)

Figures = Mapping[str, Any]

NOTHING: Final = "-"
TERMS: Final = (
    "Own best: an institution's own best model without anybody else (additive, boosting or their "
    "stack, chosen by cross-validation on its own training units). Shared: the model learned "
    "together, as it comes. At home: that model weighed with own ones, inside. All are measured on "
    "an institution's own held-out {units}, which chose nothing. Average precision is the share of "
    "cases among those ranked highest, averaged over all lengths of the list. In brackets: 95 of "
    "100 resamples{over}."
)


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
    made = (
        _labels(found), _institutions(found), _newcomer(found), _rare(found), _left_out(found),
        _months(found), _reviews(found), _privacy(found), _rule(found), _unknown(found),
    )  # fmt: skip
    return [section for section in made if section]


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
    text = (
        f"The same comparison from all and from fewer of an institution's labelled cases "
        f"({percent(found['budget'])} of {found['units']} are reviewed)."
    )
    closed = [
        f"{100 * row['closed']:.0f} % with {row['labels']:.0%} of the labels"
        for row in found["labels"]
        if row["closed"] is not None and row["gain"] and row["gain"]["low"] > 0
    ]
    if closed:
        text += (
            " Of the way from own best to the same stack fed by a model of all records without "
            f"privacy, which nobody may build, it goes {', '.join(closed)}."
        )
    text += _taught(found)
    heads = ("labels", "own\ncases", *OWN_HEADS)
    return JoinSection(
        "labels", f"Own {found['units']}, with fewer labels", text, heads, tuple(rows)
    )


def _taught(found: Figures) -> str:
    """Say what of a gain is more models, whoever taught them."""
    known = [row for row in found["labels"] if row["placebo"] and row["taught"]]
    if not known:
        return ""
    several = "; ".join(
        f"with {row['labels']:.0%} of the labels {decimals(row['placebo']['precision'])}, so what "
        f"others know adds {interval(row['taught'])}"
        for row in known
    )
    return (
        " A part of a gain may be that more models are weighed. Fed by one that learned from "
        "labels dealt anew within each institution, which knows nothing, the same stack has "
        f"average precision {several}."
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
    text = (
        "Somebody with 0, 10 or 50 labelled cases: "
        + (
            "the shared model is one of all others."
            if found["place"] == "simulation"
            else "the shared model as it was delivered, which learned from all of yours too."
        )
        + " Without labels there is no own model: the shared one is used as it comes."
    )
    return JoinSection("newcomer", "A newcomer", text, heads, tuple(rows))


def _recall(anchor: str, title: str, what: str, row: Figures | None) -> JoinSection | None:
    if not row:
        return None
    times = f", {row['times']:.1f} times as many" if row["times"] else ""
    times_at = f", {row['times_at']:.1f} times" if row["times_at"] else ""
    text = (
        f"{what} ({row['cases']} held-out cases, all together): own best models find "
        f"{_hundred(row['alone'])} of 100 within the budget, the shared model used at home "
        f"{_hundred(row['at_home'])} ({_points(row['gain'])}{times}). Where as many unlabelled "
        f"ones are reviewed as the budget says: {_hundred(row['alone_at'])} and "
        f"{_hundred(row['at_home_at'])} ({_points(row['gain_at'])}{times_at})."
    )
    return JoinSection(anchor, title, text)


def _rare(found: Figures) -> JoinSection | None:
    what = "Cases of roles of which an institution has fewer than 6 to learn from"
    return _recall("rare", "Roles that are rare here", what, found["rare"])


def _left_out(found: Figures) -> JoinSection | None:
    what = "Cases of a scenario of which an institution has none to learn from" + (
        ", and others have"
        if found["place"] == "simulation"
        else ", though the delivered model learned from yours too"
    )
    return _recall("left-out", "A scenario never seen here", what, found["left_out"])


def _months(found: Figures) -> JoinSection | None:
    row = found["months"]
    if not row:
        return None
    own, home = row["alone"], row["at_home"]
    text = (
        f"A scenario begins, and labels come as late and as incomplete as institutions learn of "
        f"them ({row['places']} times that one began somewhere, up to {row['watched']} months, "
        "a review each month): "
        f"an account of it is found at the first review in {_hundred(own['first'])} of 100 with "
        f"own best models, in {_hundred(home['first'])} used at home; within the months watched in "
        f"{_hundred(own['found'])} and {_hundred(home['found'])}. Months until then, where not "
        f"found all that were watched: {own['mean']:.1f} and {home['mean']:.1f} on average. "
        "Payments stand as at the end of the window: what the months change is which accounts "
        "have begun, and which are known."
    )
    return JoinSection("months", "A scenario that is new", text)


def _reviews(found: Figures) -> JoinSection | None:
    row = found["reviews"]
    if not row:
        return None
    text = (
        f"Of 1,000 {found['units']} {row['alerts']:.0f} are reviewed: {row['false_alone']:.1f} in "
        f"vain with own best models, {row['false_at_home']:.1f} used at home."
    )
    if row["minutes_alone"] and row["minutes_at_home"]:
        text += (
            f" At {row['minutes']:g} minutes an alert, which is an assumption (--minutes), a found "
            f"case takes {row['minutes_alone']:.0f} minutes of review, and "
            f"{row['minutes_at_home']:.0f} used at home."
        )
    if row["extra_minutes"] is None:
        return JoinSection("reviews", "Work", f"{text} Joining finds no more cases at this budget.")
    text += (
        f" Joining finds {row['extra_cases']:.1f} more of 100 cases at the same work. To find "
        f"as many alone takes {row['extra_alerts']:.1f} more alerts for each of them, "
        f"{row['extra_minutes']:.0f} minutes."
    )
    return JoinSection("reviews", "Work", text)


def _privacy(found: Figures) -> JoinSection:
    text = (
        f"Once, for the study: epsilon {short(found['epsilon'])}, delta {one_in(found['delta'])}. "
        f"What own records hold about one {found['unit']} changes the odds of anything seen at "
        f"most {odds_factor(found['epsilon'])} times; someone who knows all else and would be "
        "right 50 times in 100 by tossing a coin is right at most "
        f"{best_guess(found['mu2'])} times. Using the model at home costs nothing more. "
        f"{found['learned']}"
    )
    return JoinSection("privacy", "What it costs in privacy", text.strip())


def _rule(found: Figures) -> JoinSection:
    seeds = found["seeds"]
    over = (
        f" over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}) and the held-out units of each"
        if len(seeds) > 1
        else " of the held-out units; the chance of noise and of training units is not in it"
    )
    terms = TERMS.format(units=found["units"], over=over)
    return JoinSection("rule", "How this is judged", f"{found['verdict']['rule']} {terms}")


def _unknown(found: Figures) -> JoinSection | None:
    if not found["unknown"]:
        return None
    return JoinSection("unknown", "What this page does not know", " ".join(found["unknown"]))


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
