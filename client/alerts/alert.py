"""One alert: a unit's card with all reasons, people's decisions about it, labels made of these.

A label has the time from which it was known. A study's records may use it only for features from
before it was observed: otherwise a model learns from the future.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from fieldfare.client.alerts.feedback import Confidence, Feedback, alert_status
from fieldfare.client.scoring.evidence import LEAST_EVIDENCE
from fieldfare.client.scoring.selection import SelectionReason

_ID: Final = b"fieldfare-alert"  # BLAKE2b's personalisation: not the hold-out's use of the key
ID_BYTES: Final = 8
FORMAT: Final = 2


class Reason(BaseModel):
    """The part of a score that one feature adds.

    Attributes:
        value: as it stands in the records; None where missing, or where `level` says it.
        own_baseline: the same number of the same customer at an earlier time.
        usual: the median here; `percentile` is where the value stands among units here.
        contribution: log-odds.
        fires: whether the indicator fires as published; False: the model reads its absence.
            None where nothing published says it, or the number that says it is not in the study.
        evidence: whether it counts as evidence (scoring/evidence.py).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: str
    indicator: str | None
    family: str
    source: str | None
    value: float | None
    level: str | None
    own_baseline: float | None
    usual: float | None
    percentile: float | None
    contribution: float
    direction: Literal["raises", "lowers"]
    fires: bool | None = None
    evidence: bool = False


class Alert(BaseModel):
    """One unit of the queue, as the ranking describes it.

    Attributes:
        alert: the id by which people speak of it; says nothing of the unit.
        opened, scored: when it first and last came out (ISO 8601, UTC).
        of: how many units were ranked.
        calibration: the labels that the probability rests on.
        likely: the interval that the probability stands for, which is what people are shown;
            None where it is not calibrated, or was scored before there were intervals.
        tuned: whether the model was tuned here.
        reasons, counter_evidence: the strongest; with `base` and `others`, what all further
            features add, they are the score, to the last bit.
        families: how many independent families of evidence raise it (harm rule 2); counted in
            scoring/evidence.py, and everything that speaks of evidence says this.
        evidence: the published indicators that they rest on, by id.
        fired: all of the study's that fire as published, whether or not they are evidence here.
        readings: harmless readings that hold.
        harmless: what the unit's own numbers say for one, in words.
        label: in the records when the unit was scored: 1, 0, or None.
        party_role: as scoring leaves it: unknown (harm rule 1); people's word is in the store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    alert: str
    unit: str
    study: str
    study_name: str
    run: str
    opened: str
    scored: str
    rank: int
    of: int
    selected: SelectionReason
    score: float
    base: float
    others: float
    probability: float | None
    calibration: str
    likely: tuple[float, float] | None = None
    tuned: bool = False
    families: int
    family_names: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    fired: tuple[str, ...] = ()
    against: tuple[str, ...]
    look_alikes: tuple[str, ...]
    readings: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    reasons: tuple[Reason, ...]
    counter_evidence: tuple[Reason, ...]
    label: int | None = None
    party_role: Literal["unknown"] = "unknown"

    @model_validator(mode="before")
    @classmethod
    def _from_before(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("format") == FORMAT - 1:
            return _recount(data)
        return data


def alert_id(key: bytes, unit: str, opened: datetime) -> str:
    """Return an alert's id: without the institution's key it says nothing of the unit."""
    keyed = hashlib.blake2b(key=key, digest_size=ID_BYTES, person=_ID)
    keyed.update(f"{opened.isoformat()} {unit}".encode())
    return keyed.hexdigest()


def alert_of(row: dict[str, Any], **beside: Any) -> Alert:
    """Return an alert from a row of the alert table and the fields `beside` it."""
    return Alert.model_validate({**row, **beside})


def _recount(data: dict[str, Any]) -> dict[str, Any]:
    """Count an alert's evidence again that format 1 kept, which counted what fires not as well.

    By the reasons that were kept with it, so at most too few.
    """
    reasons = [{**one, "evidence": _was_evidence(one)} for one in data["reasons"]]
    sums: dict[str, float] = {}
    for one in reasons:
        if one["evidence"]:
            sums[one["family"]] = sums.get(one["family"], 0.0) + one["contribution"]
    names = [name for name in data["family_names"] if sums.get(name, 0.0) >= LEAST_EVIDENCE]
    for one in reasons:
        one["evidence"] = one["evidence"] and one["family"] in names
    kept = (*reasons, *data["counter_evidence"])
    return {
        **data,
        "format": FORMAT,
        "reasons": reasons,
        "families": len(names),
        "family_names": names,
        "evidence": sorted({one["indicator"] for one in reasons if one["evidence"]}),
        "fired": sorted({one["indicator"] for one in kept if one["fires"] and one["indicator"]}),
    }


def _was_evidence(reason: dict[str, Any]) -> bool:
    value, usual = reason["value"], reason["usual"]
    fired = bool(reason["fires"] and reason["indicator"])
    higher = value is not None and usual is not None and value > usual
    return fired and higher and reason["contribution"] > 0


# -- labels ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnitLabel:
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


def label_of(
    unit: str, selected: str, opened: datetime, decisions: Sequence[Feedback], as_of: datetime
) -> UnitLabel | None:
    """Return the label of an alert's unit as known at `as_of`; None before one was known."""
    found = alert_status([one for one in decisions if one.time <= as_of])
    if found.label is None or found.since is None:
        return None
    source = "str_filed" if found.label else "cleared"
    return UnitLabel(unit, found.label, source, found.confidence, found.since, opened, selected)


def latest(labels: Sequence[UnitLabel]) -> list[UnitLabel]:
    """Return the last label of each unit, by unit: of several alerts the newest decision counts."""
    found: dict[str, UnitLabel] = {}
    for label in sorted(labels, key=lambda one: one.observed_at):
        found[label.unit] = label
    return [found[unit] for unit in sorted(found)]
