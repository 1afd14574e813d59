"""The questions to a written world's NGOs and hotlines: region and month, nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.simulations.world.writing import TRUTH

_MONTH: Final = "%Y-%m"


def write_help_records(world: Path, out: Path) -> None:
    """Write one row for each case whose person consented to research, and for each contact.

    Columns: institution, unit, region, month (2025-01), label int8 (1: a case).
    """
    cases = sorted(world.glob("*/cases.parquet"))
    contacts = sorted(world.glob("*/signals.parquet"))
    apart = {TRUTH}
    parts = [_cases(path) for path in cases if path.parent.name not in apart]
    parts += [_contacts(path) for path in contacts if path.parent.name not in apart]
    pq.write_table(pa.concat_tables(parts), out)


def _cases(path: Path) -> Any:
    table = pq.read_table(path).filter(pc.field("consent_research"))
    return _rows(path, table, ("case_id", "opened"), label=1)


def _contacts(path: Path) -> Any:
    return _rows(path, pq.read_table(path), ("signal_id", "ts"), label=0)


def _rows(path: Path, table: Any, names: tuple[str, str], *, label: int) -> Any:
    unit, when = names
    size = table.num_rows
    return pa.table(
        {
            "institution": pa.array([path.parent.name] * size, pa.string()),
            "unit": table[unit],
            "region": table["region_exploit" if label else "region"],
            "month": pc.strftime(table[when], format=_MONTH),
            "label": pa.array([label] * size, pa.int8()),
        }
    )


def growth(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the region whose cases and calls grew most from the first month to the last.

    Args:
        answer: of results.json, by region and month.

    Returns:
        region, first, last (months), before, after (noised counts) and margin: half the width
        of the widest of the two 95 % intervals; None where an answer was held back throughout.
    """
    found = {
        (cell[0], cell[1]): (value, interval)
        for cell, value, interval in zip(
            answer["cells"], answer["value"], answer["interval"], strict=True
        )
        if value is not None
    }
    months = sorted({month for _, month in found if month[:1].isdigit()})
    regions = sorted({region for region, _ in found if region.startswith("region-")})
    if not months:
        return None
    first, last = months[0], months[-1]
    both = [r for r in regions if (r, first) in found and (r, last) in found]
    if not both or first == last:
        return None
    most = max(both, key=lambda r: found[r, last][0] - found[r, first][0])
    ends = [found[most, month] for month in (first, last)]
    return {
        "region": most,
        "first": first,
        "last": last,
        "before": ends[0][0],
        "after": ends[1][0],
        "margin": max(_half(interval) for _, interval in ends),
    }


def _half(interval: Sequence[float]) -> float:
    return (interval[1] - interval[0]) / 2
