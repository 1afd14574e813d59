"""How alerts fall on groups, as rows of a page: the report's and the model card's alike."""

from collections.abc import Mapping
from typing import Any

from fieldfare.shared.fairness import rate_in
from fieldfare.shared.pages.words import decimals
from fieldfare.shared.rates import Verdict, percents


def group_tables(found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return one table for each grouping: `column` and `rows` of text; none without groups.

    Args:
        found: `released_groups`, or nothing.
    """
    if not found:
        return []
    everybody = _row(found["everybody"], first=True)
    return [
        {"column": one["column"], "rows": [everybody, *map(_row, one["rows"])]}
        for one in found["columns"]
    ]


def _row(row: Mapping[str, Any], *, first: bool = False) -> dict[str, str]:
    wrong = percents(rate_in(row["false_positive_rate"]))
    return {
        "name": row["name"],
        "units": f"{row['units']['value']:,.0f}",
        "alerts": percents(rate_in(row["alert_rate"])),
        "wrong": wrong,
        "verdict": "" if first else _said(row),
    }


def _said(row: Mapping[str, Any]) -> str:
    verdict, times = str(row["verdict"]), row["times"]
    if verdict == Verdict.TOO_FEW or times is None:
        return verdict
    return f"{verdict}: {decimals(times, 1)} times"
