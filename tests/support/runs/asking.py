"""Made-up records and a study that asks one question of each kind about them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedUnits, AskedValues, ListColumn
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.study.question_layout import MISSING_TEXT, packed
from fieldfare.shared.study.study import Study

KEY: Final = b"a key of an institution"
CHANNELS: Final = ("branch", "online", "post")
MONTHS: Final = tuple(f"2025-{month:02d}" for month in range(1, 13))
CORRIDORS: Final = ("RO-DE", "BG-AT", "NG-IT", "VN-UK", "UA-PL")
EVERY_KIND: Final[tuple[dict[str, Any], ...]] = (
    {"name": "units", "kind": "count"},
    {"name": "flagged", "kind": "count", "where": [{"column": "flagged", "levels": ["1"]}]},
    {"name": "total", "kind": "sum", "column": "amount"},
    {"name": "usual", "kind": "mean", "column": "amount"},
    {"name": "spread", "kind": "variance", "column": "amount"},
    {"name": "per hour", "kind": "ratio", "numerator": "amount", "denominator": "hours"},
    {"name": "amounts", "kind": "histogram", "column": "amount", "bins": 8},
    {"name": "middle", "kind": "quantiles", "column": "amount", "at": [0.25, 0.5, 0.9]},
    {"name": "below", "kind": "ecdf", "column": "amount", "bins": 10},
    {"name": "by channel", "kind": "group_by", "by": ["channel", "band"], "column": "hours"},
    {"name": "tables", "kind": "contingency", "marginals": [["channel", "flagged"], ["channel"]]},
    {"name": "top", "kind": "top_k", "column": "channel", "k": 2},
    {"name": "corridors", "kind": "heavy_hitters", "column": "corridor", "k": 3},
    {"name": "together", "kind": "correlation", "columns": ["amount", "hours"]},
    {"name": "jointly", "kind": "covariance", "columns": ["amount", "hours"]},
    {"name": "months", "kind": "trend", "column": "month", "window": 4, "cells": 3},
)


def asking(
    *queries: Mapping[str, Any], steps: int = 0, names: Sequence[str] = (), **changes: Any
) -> Study:
    """A study that asks `queries`, by default one of each kind; keywords change its sections."""
    banks = tuple(names) or ("bank-a", "bank-b", "bank-c")
    data: dict[str, Any] = {
        "name": "asking",
        "purpose": "Tests.",
        "records": {"label": "flagged", "units": 2000, "prevalence": 0.2, "unit": "id"},
        "features": [
            {"name": "amount", "kind": "numeric", "lower": 0, "upper": 100},
            {"name": "hours", "kind": "numeric", "lower": 1, "upper": 24},
            {"name": "channel", "kind": "categorical", "levels": list(CHANNELS)},
        ],
        "columns": [
            {
                "name": "month",
                "kind": "month",
                "first": MONTHS[0],
                "last": MONTHS[-1],
                "several": True,
            },
            {"name": "corridor", "kind": "open", "length": 5},
            {"name": "band", "kind": "institution", "groups": {"all": list(banks)}},
        ],
        "queries": list(queries or EVERY_KIND),
        "training": {"steps": steps},
        "privacy": {"epsilon": 1.0, "delta": 1e-5},
        "aggregation": {"deadline_seconds": 5, "opening": "on", "participants": "any"},
    }
    for name, section in changes.items():
        old = data.get(name)
        data[name] = old | section if isinstance(old, dict) else section
    return Study.model_validate(data)


def numbers(count: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Amounts and hours that go together, some missing, some out of bounds."""
    random = np.random.default_rng(seed)
    hours = random.uniform(1, 24, count)
    amounts = hours * 3 + random.normal(0, 15, count)
    amounts[random.uniform(size=count) < 0.05] = np.nan
    return {"amount": amounts, "hours": hours}


def made_up(count: int, *, institution: str = "bank-a", seed: int = 0) -> AskedUnits:
    """Units of one institution as questions see them."""
    random = np.random.default_rng([seed, 7])
    lists = [sorted(set(random.integers(0, 13, random.integers(1, 7)))) for _ in range(count)]
    owners = np.repeat(np.arange(count), [len(codes) for codes in lists]).astype(np.int64)
    codes = np.array([code for part in lists for code in part], dtype=np.int32)
    weights = (0.5, 0.25, 0.15, 0.07, 0.03)
    texts = [packed(c, 5) for c in CORRIDORS]
    chosen = np.array([*texts, MISSING_TEXT], dtype=np.uint64)
    places = random.choice(6, count, p=[*(w * 0.9 for w in weights), 0.1])
    values = AskedValues(
        numbers=numbers(count, seed),
        codes={"channel": random.integers(0, 5, count).astype(np.int32)},
        lists={"month": ListColumn(owners, codes)},
        texts={"corridor": chosen[places]},
    )
    labels = (random.uniform(size=count) < 0.2).astype(np.uint8)
    order = unit_order([f"{institution}-{row}" for row in range(count)], key=KEY)
    return AskedUnits(institution, labels, values, order)


def without(units: AskedUnits, place: int) -> AskedUnits:
    """The same institution as if one unit had never been there."""
    mask = np.ones(len(units), dtype=np.bool_)
    mask[place] = False
    return AskedUnits(
        units.institution, units.labels[mask], units.values.select(mask), units.order[mask]
    )


def sums_of(study: Study, units: AskedUnits) -> StudySums:
    """Sums of a study over made-up units; the model's own view of them is empty numbers."""
    positions = np.zeros((len(study.features), len(units)), dtype=np.uint16)
    holdout = np.arange(len(units)) % 5 == 0
    return StudySums.prepare(study, EncodedUnits(positions, units.labels), holdout, units)
