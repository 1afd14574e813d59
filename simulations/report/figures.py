"""What the sentences and pictures of a report need beside results.json: pure functions of it."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from fieldfare.shared.pages.words import unit_words
from fieldfare.shared.privacy.gaussian import epsilon_for

Results = Mapping[str, Any]

NOTICEABLE: Final = 0.005
"""A difference in AUROC or average precision below this is called none."""

CLEAR: Final = 0.02
"""A difference from here on is called clear."""

DROWNED: Final = 0.4
"""Width of an interval of AUROC from which on a measurement says hardly anything."""

MOST_GROUPS: Final = 3
"""Groups named in a sentence; the page shows all."""

SPARED: Final = ("independent_adult_worker", "survivor_rebuilding")
"""Groups whom an alert may harm most: named whenever they are in the records (harm rule 5)."""

TOO_OFTEN: Final = 2.0
"""Times the false-positive rate of all others above which a group is reviewed too often."""


def metric(results: Results, model: str, key: str) -> float | None:
    """Value of one model's metric, or None where the model or the value is absent."""
    value = (results["models"].get(model) or {}).get(key)
    return None if value is None else float(value)


def units(results: Results) -> str:
    """Plural of the unit's word: accounts, customers, cases; `units` where none is given."""
    return unit_words(str(results["study"].get("unit") or ""))[1]


def unit(results: Results) -> str:
    """Singular of `units`."""
    return unit_words(str(results["study"].get("unit") or ""))[0]


def protected(results: Results) -> bool:
    """Say whether noise was exact and replies were masked, as in a deployment."""
    privacy = results["privacy"]
    return privacy.get("noise") == "exact" and bool(privacy.get("masked"))


class ModelComparison(NamedTuple):
    """Differences of two models (first minus second) and the words for them."""

    auroc: float | None
    average_precision: float | None
    words: str


def compare(results: Results, model: str, other: str) -> ModelComparison | None:
    """Compare two models by AUROC and average precision; None where neither can be compared."""
    gaps: list[float | None] = []
    for key in ("auroc", "average_precision"):
        first, second = metric(results, model, key), metric(results, other, key)
        gaps.append(None if first is None or second is None else first - second)
    known = [gap for gap in gaps if gap is not None]
    return ModelComparison(gaps[0], gaps[1], _comparative(known)) if known else None


def _comparative(gaps: list[float]) -> str:
    """Words for one or two differences.

    Clearly, if all are clear; slightly, if only one can be noticed; mixed, if they disagree.
    """
    noticed = [gap for gap in gaps if abs(gap) >= NOTICEABLE]
    if not noticed:
        return "about as well as"
    if min(noticed) < 0 < max(noticed):
        better, worse = ("AUROC", "average precision")[:: 1 if gaps[0] > 0 else -1]
        return f"better by {better} but worse by {worse} than"
    direction = "better" if noticed[0] > 0 else "worse"
    if all(abs(gap) >= CLEAR for gap in gaps):
        return f"clearly {direction} than"
    return f"{direction} than" if len(noticed) == len(gaps) else f"slightly {direction} than"


def at_home(results: Results) -> bool:
    """Tell whether the shared model was also measured as it is used at home."""
    return bool(results["models"].get("at_home"))


class FoundTally(NamedTuple):
    """How many institutions gain, lose, and of how many it cannot be told."""

    gain: int
    lose: int
    open: int


def verdict_of(row: Mapping[str, Any]) -> str:
    """Say whether an institution gains, loses, or cannot be told: by its interval, as printed."""
    low, high = (round(row["difference"][end]) for end in ("low", "high"))
    return "gains" if low > 0 else "loses" if high < 0 else "cannot be told"


def found_tally(found: Results) -> FoundTally:
    """Count the verdicts of `found` of results.json."""
    said = [verdict_of(row) for row in found["institutions"]]
    return FoundTally(*(said.count(one) for one in ("gains", "loses", "cannot be told")))


def vain_groups(results: Results) -> list[Mapping[str, Any]]:
    """Return the group most surely under review in vain, and the spared that are too often."""
    rows = [row for row in false_rates(results) if row.get("false_positives") is not None]
    rows.sort(key=_surely, reverse=True)
    if not rows or not rows[0]["false_positives"]:
        return []
    often = (row for row in rows[1:] if row["name"] in SPARED and row.get("times") is not None)
    return [rows[0], *(row for row in often if row["times"]["value"] > TOO_OFTEN)]


def vain_rows(results: Results) -> list[Mapping[str, Any]]:
    """Return the spared groups by name, and those that are reviewed too often, worst first."""
    rows = [row for row in false_rates(results) if row.get("times") is not None]
    named = sorted((row for row in rows if row["name"] in SPARED), key=lambda row: row["name"])
    rest = (row for row in rows if row not in named and row.get("false_positives") is not None)
    return named + [row for row in rest if row["times"]["value"] > TOO_OFTEN]


def vain_of_thousand(results: Results) -> tuple[str | None, str | None]:
    """False positives among 1,000 units at the alert budget, together and alone."""
    share = alert_budget(results)
    values = [metric(results, model, "precision_at_budget") for model in ("federated", "alone")]
    if share is None:
        return None, None
    together, alone = (None if v is None else f"{1000 * share * (1 - v):.1f}" for v in values)
    return together, alone


def per_hundred(results: Results, model: str) -> tuple[str, str] | None:
    """Precision and recall at the alert budget, of 100; None where not measured."""
    values = [metric(results, model, f"{key}_at_budget") for key in ("precision", "recall")]
    precision, recall = (None if v is None else f"{100 * v:.0f}" for v in values)
    return None if precision is None or recall is None else (precision, recall)


def alert_budget(results: Results) -> float | None:
    """Share of units that people can review, where the study has one."""
    for part in ("released_metrics", "groups"):
        share = (results.get(part) or {}).get("alert_budget")
        if share is not None:
            return float(share)
    return None


def false_rates(results: Results) -> list[Mapping[str, Any]]:
    """Groups with a known false-positive rate, the highest first."""
    rows = (results.get("groups") or {}).get("rows") or []
    known = [row for row in rows if row.get("false_positive_rate") is not None]
    return sorted(known, key=lambda row: -float(row["false_positive_rate"]))


def _surely(row: Mapping[str, Any]) -> float:
    """Return the lower end of a group's rate of false positives (Wilson 1927, 95 %)."""
    many, z = negatives(row), 1.96
    rate = int(row["false_positives"]) / many
    middle, half = (
        rate + z**2 / (2 * many),
        z * math.sqrt(rate * (1 - rate) / many + z**2 / 4 / many**2),
    )
    return (middle - half) / (1 + z**2 / many)


def negatives(row: Mapping[str, Any]) -> int:
    """Return how many units of a group are unlabelled."""
    return int(row["units"]) - int(row["positives"])


def needs_more(results: Results) -> bool:
    """Tell whether units stand at more institutions than the study's multiplicity counts in.

    Equal rows without ids may be chance: only where they are half of all are they one.
    """
    found = (results.get("privacy") or {}).get("multiplicity")
    if not found or found["needed"] <= found["study"]:
        return False
    return bool(found["by"] == "id" or 2 * found["beyond"] >= found["units"])


def counts_people(results: Results) -> bool:
    """Tell whether people of an invented world are at two institutions and the study says so."""
    found = (results.get("privacy") or {}).get("multiplicity") or {}
    return bool((results.get("world") or {}).get("at_two_banks")) and found.get("study", 1) > 1


def epsilon_of_two(results: Results) -> float | None:
    """Return the epsilon of a person who is a unit twice; None where there is none."""
    terms = results.get("privacy") or {}
    share = (results.get("world") or {}).get("at_two_banks")
    if not share or terms.get("mu2_planned") is None or counts_people(results):
        return None
    # Twice a unit: the sum moves twice as far, so mu doubles.
    return float(epsilon_for(delta=terms["delta"], mu2=4 * terms["mu2_planned"]))


def auroc_drowned(results: Results) -> bool:
    """Tell whether the federation's own measurement drowned in noise."""
    found = (results.get("released_metrics") or {}).get("auroc") or {}
    low, high = found.get("low"), found.get("high")
    return low is not None and high is not None and high - low >= DROWNED


def participants(results: Results) -> int:
    """The number of institutions that took part."""
    given = results["privacy"].get("participants")
    if isinstance(given, int):
        return given
    return len(given) if given is not None else len(results["institutions"])
