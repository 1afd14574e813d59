"""Whether a column of records moved between two times, from its rows by cell alone."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri  # the quantile of chi-squared, by what lies above it

from fieldfare.client.records.health import ColumnProfile, RecordsProfile
from fieldfare.shared.terminal.texts import counted

LEAST_ROWS: Final = 200  # at either time: fewer say nothing
TENTHS: Final = 10  # bins that a number is compared in
LEAST_IN_BIN: Final = 5.0  # rows expected; smaller ones are put together (Cochran 1954)
MOVED, MOVED_MUCH = 0.1, 0.25  # Siddiqi, Credit Risk Scorecards (2006), ch. 10
CHANCE: Final = 0.01  # that any column of steady records is called moved, over all columns

Counts = NDArray[np.int64]


class DriftWord(StrEnum):
    """How far a column moved."""

    TOO_FEW = "too few rows to say"
    CHANCE = "no more than chance"
    STEADY = "a little"
    MOVED = "moved"
    MOVED_MUCH = "moved much"
    OTHER = "another column than before"


class Drift(NamedTuple):
    """A column's population stability index between two times, and what it says; None: nothing."""

    size: float | None
    word: DriftWord


def drift(then: ColumnProfile, now: ColumnProfile, columns: int) -> Drift:
    """Compare a column at two times.

    The population stability index over bins of the earlier rows: tenths of its numbers, its levels,
    special values, what is missing. Half a row is added to each bin, so that none is empty. Where
    nothing moved, the index over `1/n + 1/m` is about chi-squared with one degree less than bins
    (Yurdakul and Naranjo, J. Risk Model Validation 14(4), 2020); what lies within its quantile is
    chance. Rows of the same customers at both times move less than independent ones do, so chance
    alone calls fewer columns moved than that, not more.

    Args:
        then: of the earlier time.
        now: of the later.
        columns: that are compared together: each gets its part of `CHANCE`.
    """
    if (then.kind, len(then.cells), len(then.apart)) != (now.kind, len(now.cells), len(now.apart)):
        return Drift(None, DriftWord.OTHER)
    if min(then.rows, now.rows) < LEAST_ROWS:
        return Drift(None, DriftWord.TOO_FEW)
    old, new = _bins(then, now)
    index = stability_index(old, new)
    scale = 1 / old.sum() + 1 / new.sum()
    if len(old) == 1 or index <= chdtri(len(old) - 1, CHANCE / max(columns, 1)) * scale:
        return Drift(index, DriftWord.CHANCE)
    if index < MOVED:
        return Drift(index, DriftWord.STEADY)
    return Drift(index, DriftWord.MOVED if index < MOVED_MUCH else DriftWord.MOVED_MUCH)


def drift_lines(then: RecordsProfile, now: RecordsProfile) -> list[str]:
    """Return what moved between two times, for the operator's own terminal: it decides nothing.

    Args:
        then: of the earlier time.
        now: of the later.
    """
    before = {one.name: one for one in then.columns}
    both = [(before[one.name], one) for one in now.columns if one.name in before]
    found = [(one, old, drift(old, one, len(both))) for old, one in both]
    moved = [
        (one, old, how)
        for one, old, how in found
        if how.word in {DriftWord.MOVED, DriftWord.MOVED_MUCH, DriftWord.OTHER}
    ]
    said = f"{len(moved)} of {counted(len(both), 'column')} moved"
    few = any(how.word is DriftWord.TOO_FEW for _, _, how in found)
    day, look = then.time[:10], "; look before you go on" if moved else ""
    rows = f"{now.rows:,} rows, {then.rows:,} before"
    lines = [
        f"since {day}: {rows}; {now.zero:,} count as zero, {then.zero:,} before",
        f"since {day}: {DriftWord.TOO_FEW if few else said}{look}",
    ]
    for one, old, how in sorted(moved, key=lambda each: -(each[2].size or 0.0)):
        index = "" if how.size is None else f", index {how.size:.2f}"
        lines.append(
            f"  column {one.name}: {how.word}{index}; missing {_share(one)}, {_share(old)} before"
        )
    return lines


def _share(column: ColumnProfile) -> str:
    return f"{column.missing / max(column.rows, 1):.1%}"


def stability_index(then: Counts, now: Counts) -> float:
    """Return the sum of (q - p) ln(q / p) over bins, with half a row added to each.

    Args:
        then: int64 (bins,), rows of the earlier time.
        now: int64 (bins,), of the later.
    """
    old, new = ((one + 0.5) / (one.sum() + 0.5 * len(one)) for one in (then, now))
    return float(((new - old) * np.log(new / old)).sum())


def _bins(then: ColumnProfile, now: ColumnProfile) -> tuple[Counts, Counts]:
    """Return int64 (bins,) of both times; small ones of the earlier time are put together."""
    groups = _tenths(then.cells) if then.kind == "number" else list(range(len(then.cells)))
    most = max(groups, default=-1) + 1
    groups += range(most, most + len(then.apart) + 1)
    old, new = (
        np.bincount(groups, weights=[*one.cells, *one.apart, one.missing]).astype(np.int64)
        for one in (then, now)
    )
    large = old * min(1.0, now.rows / then.rows) >= LEAST_IN_BIN
    if large.all():
        return old, new
    return tuple(np.append(one[large], one[~large].sum()) for one in (old, new))  # type: ignore[return-value]


def _tenths(cells: Sequence[int]) -> list[int]:
    """Return the bin of each cell: a new one begins once a tenth of the earlier rows is in one."""
    found, at, held = [], 0, 0
    for count in cells:
        found.append(at)
        held += count
        if held * TENTHS >= sum(cells) > 0:
            at, held = at + 1, 0
    return found
