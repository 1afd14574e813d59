"""Alerts as text for people: a queue of one line each, and one card."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.card import (
    MOST_PARTIES,
    Card,
    CardReason,
    HistoryLine,
    card_of,
    likely_words,
    parties_of,
)
from fieldfare.client.alerts.kept_entries import KeptEntries
from fieldfare.client.alerts.store import StoredAlert
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.terminal.screen import BAD, facts, table
from fieldfare.shared.terminal.texts import SHORT, plain

MOST_UNIT: Final = 18  # in the list; a card has it whole
_REMINDERS: Final = HARM_RULES[:3]


def queue_table(queue: Sequence[StoredAlert]) -> Table:
    """Return alerts, a line each."""
    whole = ("alert", "unit", "rank", "chance")  # an id is never over two lines
    titles = (*whole, "fam.", "state", "role", "why")
    return table(titles, map(_cells, queue), whole=whole, gap=1)


def _cells(kept: StoredAlert) -> tuple[str, ...]:
    alert, status = kept.alert, kept.status
    words = (status.state, status.party_role.value, _why(alert))
    return (
        alert.alert,
        plain(alert.unit, MOST_UNIT),
        f"{alert.rank:,}",
        likely_words(alert),
        f"{alert.families}",
        *map(_allow_breaks, words),
    )


def _allow_breaks(word: str) -> str:
    """Let a word such as second_review break where it is two."""
    return word.replace("_", " ")


def _why(alert: Alert) -> str:
    return f"{alert.selected.value}, known" if alert.label == 1 else alert.selected.value


def parties_table(kept: KeptEntries) -> Table:
    """Return the other sides of a customer's entries, those that indicators count first."""
    rows = (
        (
            plain(one.party, MOST_UNIT),
            one.kind,
            f"{one.entries:,}",
            f"{one.came:,f}",
            f"{one.went:,f}",
            one.currency,
            one.first,
            one.last,
            " ".join(one.counted),
        )
        for one in parties_of(kept)[:MOST_PARTIES]
    )
    titles = ("other side", "", "entries", "in", "out", "", "first", "last", "counted by")
    return table(titles, rows, numbers=("entries", "in", "out"), gap=1)


def statement_table(statement: KeptEntries, most: int) -> Table:
    """Return a customer's latest entries, with the indicators that count each."""
    rows = (
        (
            f"{one.day} {one.time}",
            "out" if one.out else "in",
            f"{one.amount:,f}",
            one.currency,
            one.channel,
            one.what or "",
            plain(one.party or "unknown", MOST_UNIT),
            one.kind,
            plain(one.place or "", MOST_UNIT),
            " ".join(one.counted),
        )
        for one in statement.entries[:most]
    )
    titles = ("time", "", "amount", "", "channel", "what", "other side", "", "place", "counted by")
    return table(titles, rows, numbers=("amount",), whole=("time",), gap=1)


def card(kept: StoredAlert) -> RenderableType:
    """Return one alert whole."""
    return facts(_rows(card_of(kept)))


def _rows(shown: Card) -> Iterator[tuple[str, RenderableType]]:
    yield "alert", Text(f"{shown.alert}  ({shown.state})")
    yield "unit", Text(plain(shown.unit))
    yield "party role", Text(f"{shown.party_role}: set by people, never by the software")
    tuned = ", tuned here" if shown.tuned else ""
    yield "model", Text(f"{plain(shown.study_name)}  {shown.study[:SHORT]}, run {shown.run}{tuned}")
    yield "time", Text(f"opened {shown.opened}, last scored {shown.scored}")
    if shown.holder:
        yield "taken by", Text(plain(shown.holder))
    if shown.known:
        yield "known", Text("the records already label this unit positive: no news", BAD)
    if shown.place is not None:
        place = shown.place
        why = "at random, from below the line" if place.sampled else "from the top"
        yield "rank", Text(f"{place.rank:,} of {place.of:,}, {why}")
        yield "probability", Text(f"{place.probability}  ({plain(place.calibration)})")
    yield "evidence", _evidence(shown)
    for caution in shown.cautions:
        yield "caution", Text(caution, BAD)
    yield "raises", _reasons(shown.raises)
    yield "against", _reasons(shown.lowers)
    yield "adds up", Text(_sum(shown))
    if shown.harmless:
        yield "harmless", _harmless(shown)
    if shown.look_alikes:
        lines = (f"{name}: {apart}" for name, apart in shown.look_alikes)
        yield "looks like", Text("\n".join(lines))
    if shown.innocent:
        yield "or it is", Group(*(Text(f"{name}: {words}") for name, words in shown.innocent))
    yield "decided", Text("\n".join(map(_act, shown.history)) or "nothing yet")
    yield "remember", Text("\n".join(_REMINDERS))


def _harmless(shown: Card) -> Text:
    """Say what the unit's own numbers speak for; no more than that."""
    lines = [plain(one) for one in shown.harmless]
    lines += [f"fits: {plain(one)}; so everybody else comes first" for one in shown.readings]
    return Text("\n".join(lines))


def _evidence(shown: Card) -> Text:
    names = ", ".join(shown.family_names) or "none"
    word = "family" if shown.families == 1 else "families"
    text = Text(f"{shown.families} independent {word}: {names}")
    if shown.families <= 1:
        text.append("; one is not enough" if shown.families else "; not enough", BAD)
    if shown.evidence:
        text.append(f"\npublished indicators that fire and raise it: {', '.join(shown.evidence)}")
    if shown.usual_here:
        text.append(f"\nfire too, and are no evidence here: {', '.join(shown.usual_here)}")
    if shown.against:
        text.append(f"\nspeak against it: {', '.join(shown.against)}")
    return text


def _reasons(reasons: Sequence[CardReason]) -> RenderableType:
    if not reasons:
        return Text("nothing")
    found = facts(())
    found.columns[0].justify, found.columns[0].style = "right", ""
    for reason in reasons:
        title = plain(reason.title)
        what = reason.feature if title == reason.feature else f"{reason.feature}  {title}"
        words = Text(f"{what}: {plain(reason.said)}")
        if reason.no_evidence:
            words.append(f"; no evidence: {reason.no_evidence}", BAD)
        source = f" [{reason.source}]" if reason.source else ""
        words.append(f"  {reason.family}{plain(source)}", "dim")
        found.add_row(f"{reason.contribution:+.2f}", words)
    return found


def _sum(shown: Card) -> str:
    up, down = shown.sums
    return (
        f"{shown.base:.2f} (average here) {up:+.2f} {down:+.2f} {shown.others:+.2f} (all others) "
        f"= {shown.score:.2f} log-odds"
    )


def _act(one: HistoryLine) -> str:
    note = f": {plain(one.note)}" if one.note else ""
    return f"{one.time} {plain(one.user)}: {one.words}{note}"
