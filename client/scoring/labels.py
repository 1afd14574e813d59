"""People's decisions as labels for the next study, each with the time from which it was known.

A study's records may use a label only for features from before it was observed: otherwise a
model learns from the future.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fieldfare.client.scoring.alert import Confidence, Disposition, PartyRole

REVIEWERS_TO_FILE = 2  # persons: one person's word is not enough to report somebody


@dataclass(frozen=True)
class Feedback:
    """One decision of one person about one alert. Nothing is ever changed or deleted.

    Attributes:
        time: when, with a time zone.
        note: free text; stays in the store.
        reviewer: whether this person's may be the second signature; in a home of one's own, those
            of every user who can open it.
    """

    alert: str
    time: datetime
    user: str
    disposition: Disposition
    party_role: PartyRole
    confidence: Confidence
    note: str = ""
    reviewer: bool = True


@dataclass(frozen=True)
class Label:
    """The label of one unit that is known at some time.

    Attributes:
        value: 1 or 0.
        source: `str_filed` or `cleared`.
        observed_at: since when it is known.
        effective_from: when the alert came out: features up to then led to it.
        selected: `alert` or `below_line`; the latter are a random sample, without the model's bias.
    """

    unit: str
    value: int
    source: str
    confidence: Confidence
    observed_at: datetime
    effective_from: datetime
    selected: str


@dataclass(frozen=True)
class Standing:
    """Where an alert stands after some decisions.

    Attributes:
        state: `new`, `in_review`, `second_review` (one person would file), `closed`.
        disposition: the last one.
        party_role: the last one that a person set.
        label: 1, 0, or None while nothing is settled.
        since: when the label was settled.
    """

    state: str
    disposition: Disposition | None
    party_role: PartyRole
    label: int | None
    since: datetime | None
    confidence: Confidence = Confidence.MEDIUM


NEW = Standing("new", None, PartyRole.UNKNOWN, None, None)


def standing_of(decisions: Sequence[Feedback]) -> Standing:
    """Return where an alert stands after its decisions, in the order of time.

    Filing needs two different people who decided on it last, one of them with a reviewer's
    right: until then it is no label, and no report may be finished.
    """
    if not decisions:
        return NEW
    last = decisions[-1]
    disposition, role = last.disposition, last.party_role
    if disposition is Disposition.FILE:
        filing: set[str] = set()
        reviewed = False
        for one in reversed(decisions):
            if one.disposition is not Disposition.FILE:
                break
            filing.add(one.user)
            reviewed |= one.reviewer
        if len(filing) < REVIEWERS_TO_FILE or not reviewed:
            return Standing("second_review", disposition, role, None, None, last.confidence)
    state = "closed" if disposition.closes else "in_review"
    since = last.time if disposition.closes else None
    return Standing(state, disposition, role, disposition.label, since, last.confidence)


def label_of(
    unit: str, selected: str, opened: datetime, decisions: Sequence[Feedback], as_of: datetime
) -> Label | None:
    """Return what was known of an alert's unit at `as_of`; None while nothing was."""
    found = standing_of([one for one in decisions if one.time <= as_of])
    if found.label is None or found.since is None:
        return None
    source = "str_filed" if found.label else "cleared"
    return Label(unit, found.label, source, found.confidence, found.since, opened, selected)


def latest(labels: Sequence[Label]) -> list[Label]:
    """Return the last label of each unit, by unit: of several alerts the newest decision counts."""
    found: dict[str, Label] = {}
    for label in sorted(labels, key=lambda one: one.observed_at):
        found[label.unit] = label
    return [found[unit] for unit in sorted(found)]
