"""What an institution decides on, from rows: figures by question, and the verdict.

    labels      own customers from all, half, a quarter, a tenth of the labels
    newcomer    the same with 0, 10, 50 labelled cases
    rare        cases of roles of which the institution has few
    left_out    cases of a scenario that it has never seen
    months      until a scenario that is new is first found
    reviews     false alerts, and the minutes that a case costs

A figure that rests on fewer than 5 held-out cases is not shown.
"""

from collections.abc import Sequence
from typing import Any, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from fieldfare.shared.errors import UsageError
from fieldfare.shared.joining.rows import (
    LEAST_SHOWN,
    KindRow,
    MonthsRow,
    PairedRow,
    Span,
    gain_in_found,
    gain_in_kinds,
    gain_in_precision,
    taught_in_precision,
)
from fieldfare.shared.joining.verdict import RULE, JoinVerdict, mean_precision, verdict
from fieldfare.shared.pages.words import unit_words
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study

FORMAT: Final = 2
LEAST_WAY: Final = 0.02  # average precision between own best and the pooled reference
MINUTES: Final = 20.0  # of an analyst's work for an alert: an assumption, said wherever it is used
LEAST_MINUTES, MOST_MINUTES = 0.1, 10_000.0  # some weeks
MODELS: Final = ("alone", "shared", "at_home", "pooled", "placebo")

Figures = dict[str, Any]


def minutes_of(value: float) -> float:
    """Return the minutes that somebody assumes for an alert.

    Raises:
        UsageError: no number between six seconds and some weeks: NaN passes a plain limit.
    """
    if not LEAST_MINUTES <= value <= MOST_MINUTES:
        raise UsageError(
            f"--minutes: expected {LEAST_MINUTES:g} to {MOST_MINUTES:,.0f} minutes for an alert, "
            f"found {value:g}"
        )
    return value


class Facts(BaseModel):
    """What a comparison was about.

    Attributes:
        study, study_id: its name and hash.
        units, unit: what its units are called.
        epsilon, delta, mu2: its privacy.
        budget: share of units that are reviewed.
        minutes: of work for an alert, as assumed.
        place: of a simulation, or of an institution alone with its own records.
        learned: how the shared model was learned, in words.
        unknown: what is not answered here and why, a sentence each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    study_id: str
    units: str
    unit: str
    epsilon: float
    delta: float
    mu2: float
    budget: float
    minutes: float = MINUTES
    place: str = "simulation"
    learned: str = ""
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, study: Study, **said: Any) -> Self:
        """Take from a study what the page says of it; `said` is the rest."""
        unit, units = unit_words(study.records.unit)
        privacy, budget = study.privacy, study.evaluation.alert_budget
        return cls(
            study=study.name, study_id=study.id, unit=unit, units=units, budget=budget,
            epsilon=privacy.epsilon, delta=privacy.delta, mu2=plan_for(study).mu2, **said,
        )  # fmt: skip


def figures(
    facts: Facts,
    rows: Sequence[PairedRow],
    kinds: Sequence[KindRow] = (),
    months: Sequence[MonthsRow] = (),
) -> Figures:
    """Return all that is known, ready for JSON, a page and a screen.

    Args:
        facts: about the comparison.
        rows: of every institution, world and amount of labels.
        kinds: of rare roles and left-out scenarios.
        months: until a new scenario was found.
    """
    whole, simulated = [row for row in rows if row.labels == 1.0], facts.place == "simulation"
    return {
        "format": FORMAT,
        **facts.model_dump(mode="json"),
        "seeds": sorted({row.seed for row in rows}),
        "verdict": _verdict(verdict(whole, simulated=simulated)) | {"rule": RULE},
        "institutions": [
            {"name": name, **_cases(own), **_verdict(verdict(own, one=True, simulated=simulated))}
            for name in dict.fromkeys(row.institution for row in whole)
            for own in [[row for row in whole if row.institution == name]]
        ],
        "labels": [
            _at(labels, [row for row in rows if row.labels == labels])
            for labels in sorted({r.labels for r in rows if not r.newcomer}, reverse=True)
        ],
        "newcomer": [
            _at(labels, [row for row in rows if row.labels == labels])
            for labels in sorted({row.labels for row in rows if row.newcomer})
        ],
        "rare": _kinds([row for row in kinds if row.question == "rare"]),
        "left_out": _kinds([row for row in kinds if row.question == "left out"]),
        "months": _months(months),
        "reviews": _reviews(whole, facts.minutes),
    }


def _span(found: Span | None) -> dict[str, float] | None:
    return None if found is None else found.model_dump()


def _verdict(found: JoinVerdict) -> Figures:
    return {
        "word": found.word.value,
        "why": found.why,
        "gain": _span(found.gain),
        "gain_found": _span(found.found),
    }


def _cases(rows: Sequence[PairedRow]) -> Figures:
    """Return how many cases rows rest on: learned from on average, and held out in all."""
    return {
        "learned": float(np.mean([row.learned for row in rows])) if rows else 0.0,
        "cases": sum(row.cases for row in rows),
    }


def _at(labels: float, rows: Sequence[PairedRow]) -> Figures:
    """Return own customers from so many labels, mean over institutions and worlds."""
    found: Figures = {"labels": labels, "places": len(rows), **_cases(rows)}
    if found["cases"] < LEAST_SHOWN:
        return found | dict.fromkeys((*MODELS, "gain", "gain_found", "taught", "closed"))
    found |= {model: _reached(rows, model) for model in MODELS}
    gains = {"gain": _span(gain_in_precision(rows)), "gain_found": _span(gain_in_found(rows))}
    gains["taught"] = _span(taught_in_precision(rows))
    return found | gains | {"closed": _closed(rows)}


def _reached(rows: Sequence[PairedRow], model: str) -> Figures | None:
    """Return average precision and share of own cases found; None where some have no model."""
    several = [(row.cases, getattr(row, model)) for row in rows if row.draws]
    if not several or any(one is None for _, one in several):
        return None
    return {
        "precision": float(np.mean([one.precision for _, one in several])),
        "found": float(np.mean([one.found / cases for cases, one in several])),
    }


def _closed(rows: Sequence[PairedRow]) -> float | None:
    """Return the share of the way to the same stack fed without privacy; None: hardly any way."""
    if any(row.pooled is None or row.alone is None for row in rows if row.draws):
        return None
    alone, home, pooled = (mean_precision(rows, name) for name in ("alone", "at_home", "pooled"))
    return (home - alone) / (pooled - alone) if pooled - alone >= LEAST_WAY else None


def _kinds(rows: Sequence[KindRow]) -> Figures | None:
    """Return recall of all rows' cases together; None with too few of them."""
    cases = sum(row.cases for row in rows)
    if cases < LEAST_SHOWN:
        return None
    sums = {
        name: sum(int(getattr(row, name)) for row in rows) / cases
        for name in ("alone", "at_home", "alone_at", "at_home_at")
    }
    return {
        "cases": cases,
        **sums,
        "gain": _span(gain_in_kinds(rows)),
        "gain_at": _span(gain_in_kinds(rows, at_false_positives=True)),
        "times": sums["at_home"] / sums["alone"] if sums["alone"] else None,
        "times_at": sums["at_home_at"] / sums["alone_at"] if sums["alone_at"] else None,
    }


def _months(rows: Sequence[MonthsRow]) -> Figures | None:
    if len(rows) < LEAST_SHOWN:
        return None
    watched = max(row.months for row in rows)
    return {"places": len(rows), "watched": watched} | {
        model: {
            "first": _share([getattr(row, model) == 1 for row in rows]),
            "found": _share([getattr(row, model) is not None for row in rows]),
            "mean": float(np.mean([getattr(row, model) or row.months for row in rows])),
        }
        for model in ("alone", "at_home")
    }


def _share(yes: Sequence[bool]) -> float:
    return sum(yes) / len(yes)


def _reviews(rows: Sequence[PairedRow], minutes: float) -> Figures | None:
    """Return false alerts of 1,000 units, and the work that a case costs; None without a pair."""
    pairs = [(row, row.alone) for row in rows if row.alone and row.draws]
    cases = sum(row.cases for row, _ in pairs)
    if cases < LEAST_SHOWN:
        return None
    units, alerts, needed = (
        sum(int(getattr(row, name)) for row, _ in pairs) for name in ("units", "alerts", "needed")
    )
    alone, home = sum(own.found for _, own in pairs), sum(row.at_home.found for row, _ in pairs)
    return {
        "alerts": 1000 * alerts / units,
        "false_alone": 1000 * (alerts - alone) / units,
        "false_at_home": 1000 * (alerts - home) / units,
        "minutes": minutes,
        "minutes_alone": minutes * alerts / alone if alone else None,
        "minutes_at_home": minutes * alerts / home if home else None,
        "extra_cases": 100 * (home - alone) / cases,
        "extra_alerts": (needed - alerts) / (home - alone) if home > alone else None,
        "extra_minutes": minutes * (needed - alerts) / (home - alone) if home > alone else None,
    }
