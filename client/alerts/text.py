"""Alerts as text for people: a queue of one line each, and one card."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fieldfare.client.alerts.alert import Alert, Feedback, Reason
from fieldfare.client.alerts.entries import KeptEntries
from fieldfare.client.alerts.store import Kept
from fieldfare.client.scoring.evidence import PERSONAS, ROW_FAMILIES, indicator_of, titles
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.terminal.screen import BAD, facts, table
from fieldfare.shared.terminal.texts import SHORT, plain

MOST_BENIGN: Final = 3  # indicators whose innocent explanations are shown
MOST_UNIT: Final = 18  # in the list; a card has it whole
_CAUTIONS: Final = {
    ROW_FAMILIES["text"]: "a text: read it; --words shows which of its own words moved it",
    ROW_FAMILIES["vector"]: (
        "a vector has no reasons that people can read: look at what your tool made it from before "
        "anything else"
    ),
}
_REMINDERS: Final = HARM_RULES[:3]


def queue_table(queue: Sequence[Kept]) -> Table:
    """Return alerts, a line each."""
    whole = ("alert", "unit", "rank", "chance")  # an id is never over two lines
    titles = (*whole, "fam.", "state", "role", "why")
    return table(titles, map(_cells, queue), whole=whole, gap=1)


def _cells(kept: Kept) -> tuple[str, ...]:
    alert, status = kept.alert, kept.status
    words = (status.state, status.party_role.value, _why(alert))
    return (
        alert.alert,
        plain(alert.unit, MOST_UNIT),
        f"{alert.rank:,}",
        _probability(alert),
        f"{alert.families}",
        *map(_spaced, words),
    )


def _spaced(word: str) -> str:
    """Let a word such as second_review break where it is two."""
    return word.replace("_", " ")


def _why(alert: Alert) -> str:
    return f"{alert.selected.value}, known" if alert.label == 1 else alert.selected.value


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


def card(kept: Kept) -> RenderableType:
    """Return one alert whole."""
    return facts(_rows(kept))


def _rows(kept: Kept) -> Iterator[tuple[str, RenderableType]]:
    alert, status = kept.alert, kept.status
    yield "alert", Text(f"{alert.alert}  ({status.state})")
    yield "unit", Text(plain(alert.unit))
    yield "party role", Text(f"{status.party_role.value}: set by people, never by the software")
    tuned = ", tuned here" if alert.tuned else ""
    yield "model", Text(f"{plain(alert.study_name)}  {alert.study[:SHORT]}, run {alert.run}{tuned}")
    yield "time", Text(f"opened {alert.opened}, last scored {alert.scored}")
    if alert.label == 1:
        yield "known", Text("the records already label this unit positive: no news", BAD)
    why = "from the top" if alert.selected.value == "alert" else "at random, from below the line"
    yield "rank", Text(f"{alert.rank:,} of {alert.of:,}, {why}")
    words = plain(alert.calibration) if alert.likely or alert.probability is None else "score again"
    yield "probability", Text(f"{_probability(alert)}  ({words})")
    yield "evidence", _evidence(alert)
    for caution in _cautions(alert):
        yield "caution", Text(caution, BAD)
    yield "raises", _reasons(alert.reasons)
    yield "against", _reasons(alert.counter_evidence)
    yield "adds up", Text(_sum(alert))
    if alert.harmless:
        yield "harmless", _harmless(alert)
    yield from _innocent(alert)
    yield "decided", Text("\n".join(_decision(one) for one in kept.decisions) or "nothing yet")
    yield "remember", Text("\n".join(_REMINDERS))


def _harmless(alert: Alert) -> Text:
    """Say what the unit's own numbers speak for; no more than that."""
    lines = [plain(one) for one in alert.harmless]
    lines += [f"fits: {plain(one)}; so everybody else comes first" for one in alert.readings]
    return Text("\n".join(lines))


def _probability(alert: Alert) -> str:
    """Say it no finer than the labels that it rests on."""
    if alert.likely is None:
        return "-"
    low, high = alert.likely
    if not low:
        return "?" if high >= 1 else f"< {high:.0%}"
    return f"> {low:.0%}" if high >= 1 else f"{100 * low:.0f}-{high:.0%}"


def _evidence(alert: Alert) -> Text:
    names = ", ".join(alert.family_names) or "none"
    word = "family" if alert.families == 1 else "families"
    text = Text(f"{alert.families} independent {word}: {names}")
    if alert.families <= 1:
        text.append("; one is not enough" if alert.families else "; not enough", BAD)
    if alert.evidence:
        text.append(f"\npublished indicators that fire and raise it: {', '.join(alert.evidence)}")
    usual = [one for one in alert.fired if one not in alert.evidence]
    if usual:
        text.append(f"\nfire too, and are no evidence here: {', '.join(usual)}")
    if alert.against:
        text.append(f"\nspeak against it: {', '.join(alert.against)}")
    return text


def _cautions(alert: Alert) -> Iterator[str]:
    read = {reason.family for reason in (*alert.reasons, *alert.counter_evidence)}
    yield from (caution for family, caution in _CAUTIONS.items() if family in read)


def _reasons(reasons: Sequence[Reason]) -> RenderableType:
    if not reasons:
        return Text("nothing")
    named = titles([reason.feature for reason in reasons])
    found = facts(())
    found.columns[0].justify, found.columns[0].style = "right", ""
    for reason in reasons:
        source = f" [{reason.source}]" if reason.source else ""
        title = plain(named[reason.feature])
        what = reason.feature if title == reason.feature else f"{reason.feature}  {title}"
        words = Text(f"{what}: {_value(reason)}")
        if reason.contribution > 0 and not reason.evidence:
            words.append(f"; no evidence: {_why_none(reason)}", BAD)
        words.append(f"  {reason.family}{plain(source)}", "dim")
        found.add_row(f"{reason.contribution:+.2f}", words)
    return found


def _why_none(reason: Reason) -> str:
    """Say why what raises a score is no evidence."""
    if reason.indicator is None:
        return "no published rule"
    if reason.fires is None:
        return "whether the flag fires, this study cannot say"
    if not reason.fires:
        return "below where the flag fires"
    if not _unusual(reason):
        return "usual here"
    return "too little in its family"


def _unusual(reason: Reason) -> bool:
    value, usual = reason.value, reason.usual
    return value is not None and usual is not None and value > usual


def _value(reason: Reason) -> str:
    found = plain(reason.level or "") if reason.value is None else f"{reason.value:.6g}"
    said = [found or "missing"]
    if reason.own_baseline is not None:
        said.append(f"before {reason.own_baseline:.6g}")
    if reason.usual is not None:
        said.append(f"usual here {reason.usual:.6g}")
    if reason.percentile is not None:
        said.append(f"above {reason.percentile:.0f} % here")
    return ", ".join(said)


def _sum(alert: Alert) -> str:
    up = sum(reason.contribution for reason in alert.reasons)
    down = sum(reason.contribution for reason in alert.counter_evidence)
    return (
        f"{alert.base:.2f} (average here) {up:+.2f} {down:+.2f} {alert.others:+.2f} (all others) "
        f"= {alert.score:.2f} log-odds"
    )


def _innocent(alert: Alert) -> Iterator[tuple[str, RenderableType]]:
    apart = {persona.name: persona.apart for persona in PERSONAS}
    if alert.look_alikes:
        lines = (f"{name}: {apart.get(name, '')}" for name in alert.look_alikes)
        yield "looks like", Text("\n".join(lines))
    explained: dict[str, tuple[str, ...]] = {}
    for reason in alert.reasons:
        indicator = indicator_of(reason.feature)
        likely = reason.fires is not False and _unusual(reason)
        if indicator is not None and likely and len(explained) < MOST_BENIGN:
            explained.setdefault(indicator.id, indicator.benign)
    if explained:
        lines = (f"{name}: {' '.join(benign)}" for name, benign in explained.items())
        yield "or it is", Group(*(Text(line) for line in lines))


def _decision(one: Feedback) -> str:
    note = f": {plain(one.note)}" if one.note else ""
    return (
        f"{one.time.isoformat(timespec='seconds')} {plain(one.user)}: {one.disposition.value}, "
        f"{one.party_role.value}, {one.confidence.value} confidence{note}"
    )
