"""A card as data: what a person reads of one alert, for terminals and pages alike.

Reasons add up to the score, exactly: the average here, what raises it, what lowers it, all others.
Whether an alert is from the top or was drawn at random from below the line, its rank and its
probability stand in a part of their own, which a page leaves out until the alert is closed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from fieldfare.client.alerts.acts import CaseActKind, History, holder_of
from fieldfare.client.alerts.alert import Alert, Reason
from fieldfare.client.alerts.feedback import Feedback
from fieldfare.client.alerts.kept_entries import Entry, KeptEntries
from fieldfare.client.alerts.store import StoredAlert
from fieldfare.client.scoring.evidence import PERSONAS, ROW_FAMILIES, indicator_of, titles

MOST_BENIGN: Final = 3  # indicators whose innocent explanations are shown
MOST_PARTIES: Final = 12  # in a table and in a graph
UNKNOWN: Final = "unknown"
_CAUTIONS: Final = {
    ROW_FAMILIES["text"]: "a text: read it; --words shows which of its own words moved it",
    ROW_FAMILIES["vector"]: (
        "a vector has no reasons that people can read: look at what your tool made it from before "
        "anything else"
    ),
}
_ACTS: Final = {
    CaseActKind.TAKE: "took it",
    CaseActKind.RELEASE: "gave it back",
    CaseActKind.COMMENT: "commented",
    CaseActKind.UNDO: "undid the last decision",
}


@dataclass(frozen=True)
class CardReason:
    """One reason.

    Attributes:
        title: the published indicator in words, with what is counted; else the feature's name.
        said: the value, the own earlier one, the usual one here, and the percentile, in words.
        share: of the strongest reason, 0 to 1: the length of a bar.
        source: where the indicator was published; empty: nowhere.
        no_evidence: why it raises the score and is no evidence; empty: it is, or lowers it.
    """

    feature: str
    title: str
    said: str
    contribution: float
    share: float
    family: str
    source: str
    no_evidence: str


@dataclass(frozen=True)
class CardPlace:
    """What would tell a sampled alert from another: the rank, why it is here, the probability."""

    rank: int
    of: int
    sampled: bool
    probability: str
    calibration: str


@dataclass(frozen=True)
class HistoryLine:
    """One act in words."""

    time: str
    user: str
    words: str
    note: str


@dataclass(frozen=True)
class Card:
    """Everything that stands on a card.

    Attributes:
        usual_here: indicators that fire, and are no evidence here.
        look_alikes: lives that look like this one, and what tells them apart.
        innocent: other explanations, by indicator.
        harmless: what own numbers say for a harmless reading; `readings`: those that hold.
        place: none on a page until the alert is closed.
        at_most: families of the queue's lowest tier, where a drawn alert is to look like all
            others of it: no evidence is named then, and no sum is to be shown.
    """

    alert: str
    unit: str
    state: str
    party_role: str
    holder: str
    version: int
    opened: str
    scored: str
    study: str
    study_name: str
    run: str
    tuned: bool
    known: bool
    families: int
    family_names: tuple[str, ...]
    evidence: tuple[str, ...]
    usual_here: tuple[str, ...]
    against: tuple[str, ...]
    cautions: tuple[str, ...]
    raises: tuple[CardReason, ...]
    lowers: tuple[CardReason, ...]
    base: float
    others: float
    score: float
    harmless: tuple[str, ...]
    readings: tuple[str, ...]
    look_alikes: tuple[tuple[str, str], ...]
    innocent: tuple[tuple[str, str], ...]
    history: tuple[HistoryLine, ...]
    place: CardPlace | None
    at_most: int | None

    @property
    def sums(self) -> tuple[float, float]:
        """What raises the score, and what lowers it, of those that are shown."""
        return (
            sum(one.contribution for one in self.raises),
            sum(one.contribution for one in self.lowers),
        )


def card_of(kept: StoredAlert, *, blind: bool = False) -> Card:
    """Return the card of an alert.

    Args:
        kept: the alert, with people's acts.
        blind: whether nothing may tell a sampled alert before it is closed.
    """
    alert, status = kept.alert, kept.status
    blind = blind and status.state != "closed"
    alike = blind and kept.lowest is not None
    strongest = max(map(_size, (*alert.reasons, *alert.counter_evidence)), default=0.0)
    apart = {persona.name: persona.apart for persona in PERSONAS}
    return Card(
        alert=alert.alert,
        unit=alert.unit,
        state=status.state,
        party_role=status.party_role.value,
        holder=holder_of(kept.history),
        version=kept.version,
        opened=alert.opened,
        scored=alert.scored,
        study=alert.study,
        study_name=alert.study_name,
        run=alert.run,
        tuned=alert.tuned,
        known=alert.label == 1,
        families=kept.lowest if alike and kept.lowest is not None else alert.families,
        family_names=() if alike else alert.family_names,
        evidence=() if alike else alert.evidence,
        usual_here=tuple(one for one in alert.fired if not alike and one not in alert.evidence),
        against=alert.against,
        cautions=tuple(_cautions(alert)),
        raises=_reasons(alert.reasons, strongest, alike=alike),
        lowers=_reasons(alert.counter_evidence, strongest, alike=alike),
        base=alert.base,
        others=alert.others,
        score=alert.score,
        harmless=alert.harmless,
        readings=alert.readings,
        look_alikes=tuple((name, apart.get(name, "")) for name in alert.look_alikes),
        innocent=tuple(_innocent(alert)),
        history=_history(kept.history or kept.decisions),
        place=None if blind else _place(alert),
        at_most=kept.lowest if alike else None,
    )


def likely_words(alert: Alert) -> str:
    """Say a probability no finer than the labels that it rests on."""
    if alert.likely is None:
        return "-"
    low, high = alert.likely
    if not low:
        return "?" if high >= 1 else f"< {high:.0%}"
    return f"> {low:.0%}" if high >= 1 else f"{100 * low:.0f}-{high:.0%}"


def _place(alert: Alert) -> CardPlace:
    said = alert.likely or alert.probability is None
    calibration = alert.calibration if said else "score again"
    return CardPlace(
        alert.rank, alert.of, alert.selected.value != "alert", likely_words(alert), calibration
    )


def _size(reason: Reason) -> float:
    return abs(reason.contribution)


def _reasons(reasons: Sequence[Reason], strongest: float, *, alike: bool) -> tuple[CardReason, ...]:
    named = titles([reason.feature for reason in reasons])
    return tuple(
        CardReason(
            one.feature,
            named[one.feature],
            _value(one),
            one.contribution,
            _size(one) / strongest if strongest else 0.0,
            one.family,
            one.source or "",
            "" if alike or one.contribution <= 0 or one.evidence else _why_none(one),
        )
        for one in reasons
    )


def _value(reason: Reason) -> str:
    found = (reason.level or "") if reason.value is None else f"{reason.value:.6g}"
    said = [found or "missing"]
    if reason.own_baseline is not None:
        said.append(f"before {reason.own_baseline:.6g}")
    if reason.usual is not None:
        said.append(f"usual here {reason.usual:.6g}")
    if reason.percentile is not None:
        said.append(f"above {reason.percentile:.0f} % here")
    return ", ".join(said)


def _why_none(reason: Reason) -> str:
    """Say why what raises a score is no evidence."""
    if reason.indicator is None:
        return "no published rule"
    if reason.fires is None:
        return "this study cannot say whether the flag fires"
    if not reason.fires:
        return "below where the flag fires"
    if not _unusual(reason):
        return "usual here"
    return "too little in its family"


def _unusual(reason: Reason) -> bool:
    value, usual = reason.value, reason.usual
    return value is not None and usual is not None and value > usual


def _cautions(alert: Alert) -> Iterator[str]:
    read = {reason.family for reason in (*alert.reasons, *alert.counter_evidence)}
    yield from (caution for family, caution in _CAUTIONS.items() if family in read)


def _innocent(alert: Alert) -> Iterator[tuple[str, str]]:
    found: set[str] = set()
    for reason in alert.reasons:
        indicator = indicator_of(reason.feature)
        likely = reason.fires is not False and _unusual(reason)
        if indicator is None or not likely or indicator.id in found or len(found) >= MOST_BENIGN:
            continue
        found.add(indicator.id)
        yield indicator.id, " ".join(indicator.benign)


def _history(history: History) -> tuple[HistoryLine, ...]:
    return tuple(
        HistoryLine(
            one.time.isoformat(timespec="seconds"),
            one.user,
            f"{one.disposition.value}, {one.party_role.value}, {one.confidence.value} confidence"
            if isinstance(one, Feedback)
            else _ACTS[one.kind],
            one.note,
        )
        for one in history
    )


# -- statement ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartyLine:
    """One other side of a customer's entries, as the own records know it.

    Attributes:
        came, went: sums in units of the currency; `entries`: how many.
        counted: indicators that count entries with it.
    """

    party: str
    kind: str
    currency: str
    entries: int
    came: Decimal
    went: Decimal
    first: str
    last: str
    counted: tuple[str, ...]


@dataclass(frozen=True)
class WeekLine:
    """One week of a statement, which begins on `first`."""

    first: str
    entries: int
    counted: int


def parties_of(kept: KeptEntries) -> tuple[PartyLine, ...]:
    """Return the other sides of a statement: those whose entries are counted first, then by sum."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for one in kept.entries:
        groups.setdefault((one.party or UNKNOWN, one.currency), []).append(one)
    lines = [_party(name, currency, some) for (name, currency), some in groups.items()]
    return tuple(
        sorted(lines, key=lambda one: (not one.counted, -(one.came + one.went), one.party))
    )


def _party(name: str, currency: str, entries: Sequence[Entry]) -> PartyLine:
    days = [one.day for one in entries]
    came, went = (
        sum((one.amount for one in entries if one.out is out), Decimal(0)) for out in (False, True)
    )
    counted = tuple(sorted({name for one in entries for name in one.counted}))
    return PartyLine(
        name, entries[0].kind, currency, len(entries), came, went, min(days), max(days), counted
    )


def weeks_of(kept: KeptEntries) -> tuple[WeekLine, ...]:
    """Return a statement's weeks from its first entry on, quiet ones too, the earliest first."""
    until = date.fromisoformat(kept.until)
    counts: dict[int, list[int]] = {}
    for one in kept.entries:
        week = counts.setdefault((until - date.fromisoformat(one.day)).days // 7, [0, 0])
        week[0] += 1
        week[1] += bool(one.counted)
    return tuple(
        WeekLine((until - timedelta(days=7 * age + 6)).isoformat(), *counts.get(age, (0, 0)))
        for age in range(max(counts, default=-1), -1, -1)
    )
