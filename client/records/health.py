"""How an institution's records stand beside those of the last time: coverage and drift, in counts.

Kept are numbers of rows, for each column of a study by cells that the study itself declares (its
positions, its levels). No value of a record is kept, and nothing of it leaves the institution.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import Positions, table_size
from fieldfare.shared.features.features import CategoricalFeature, Feature
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import replace_private

CELLS: Final = 128  # of a number's range, at most
MOST_STUDIES: Final = 50  # in one file; the oldest goes
MOST_BYTES: Final = 16 * 1024 * 1024

Counts = NDArray[np.int64]
_Rows = Annotated[int, Field(ge=0)]


class ColumnProfile(BaseModel):
    """A column in numbers of rows.

    Attributes:
        cells: of numbers, along the column's declared range; of levels, one for each.
        apart: rows with a special value of a number, each; with a level that nobody declared.
        missing: rows without a value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    kind: Literal["number", "level"]
    cells: list[_Rows]
    apart: list[_Rows]
    missing: _Rows

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.cells) + sum(self.apart) + self.missing


class RecordsProfile(BaseModel):
    """The records under one study at one time; `zero`: rows that count as zero."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    time: str
    rows: _Rows
    zero: _Rows
    columns: list[ColumnProfile]


class StudyHealth(BaseModel):
    """The records under one study: now, before (on another day), and when they were first seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    study: str
    name: str
    first: RecordsProfile
    before: RecordsProfile | None
    now: RecordsProfile


class RecordsHealth(BaseModel):
    """What the home's file holds, the newest last."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    studies: list[StudyHealth] = Field(default_factory=list)


def column_profiles(study: Study, positions: Sequence[Positions]) -> list[ColumnProfile]:
    """Count rows by cell.

    Args:
        study: whose features they are.
        positions: uint16 (features, rows) each, one after another.
    """
    found = []
    for index, feature in enumerate(study.features):
        counts = np.zeros(table_size(feature), dtype=np.int64)
        for part in positions:
            counts += np.bincount(part[index], minlength=len(counts))
        found.append(_profile(feature, counts))
    return found


def _profile(feature: Feature, counts: Counts) -> ColumnProfile:
    if isinstance(feature, CategoricalFeature):
        *cells, other, missing = counts.tolist()
        return ColumnProfile(
            name=feature.name, kind="level", cells=cells, apart=[other], missing=missing
        )
    special = len(feature.special)
    one = counts.reshape(len(feature.curves), -1).sum(axis=0)  # of every level's curve
    line = one[: len(one) - special - 1]
    edges = np.linspace(0, len(line), min(CELLS, len(line)) + 1).astype(np.int64)[:-1]
    return ColumnProfile(
        name=feature.name,
        kind="number",
        cells=np.add.reduceat(line, edges).tolist(),
        apart=one[len(line) : -1].tolist(),
        missing=int(one[-1]),
    )


def profile_at(
    columns: Sequence[ColumnProfile], rows: int, zero: int, now: datetime
) -> RecordsProfile:
    """Return how records stand.

    Args:
        columns: each one's rows by cell.
        rows: that were read.
        zero: of those, how many count as zero.
        now: the present in UTC.
    """
    time = now.isoformat(timespec="seconds")
    return RecordsProfile(time=time, rows=rows, zero=zero, columns=list(columns))


# -- the file -------------------------------------------------------------------------------------


def keep_profile(path: Path, study: Study, profile: RecordsProfile) -> None:
    """Write a profile down beside those of earlier days; one of the same day takes its place.

    Args:
        path: the home's file.
        study: under which the records were read.
        profile: of now.

    Raises:
        UsageError: what is there is no such file.
        OSError: the disk refuses it.
    """
    health = read_health(path)
    old = next((one for one in health.studies if one.study == study.id), None)
    if old is None:
        made = StudyHealth(study=study.id, name=study.name, first=profile, before=None, now=profile)
    else:
        again = old.now.time[:10] == profile.time[:10]
        before = old.before if again else old.now
        first = profile if again and old.before is None else old.first
        made = old.model_copy(update={"first": first, "before": before, "now": profile})
    others = [one for one in health.studies if one.study != study.id]
    kept = RecordsHealth(studies=[*others, made][-MOST_STUDIES:])
    replace_private(path, canonical_bytes(kept))


def earlier_profile(path: Path, study: Study, profile: RecordsProfile) -> RecordsProfile | None:
    """Return how the records stood the last time on another day; None: they were never read then.

    Args:
        path: the home's file.
        study: under which the records are read.
        profile: of now.

    Raises:
        UsageError: what is there is no such file.
    """
    old = next((one for one in read_health(path).studies if one.study == study.id), None)
    if old is None:
        return None
    return old.before if old.now.time[:10] == profile.time[:10] else old.now


def read_health(path: Path) -> RecordsHealth:
    """Return what is kept; nothing where there is no file.

    Raises:
        UsageError: another file, or one that cannot be read.
    """
    try:
        with path.open("rb") as file:
            return RecordsHealth.model_validate_json(file.read(MOST_BYTES))
    except FileNotFoundError:
        return RecordsHealth()
    except (OSError, ValidationError):
        raise UsageError(
            f"{path}: expected the counts that `records check` and `score` keep, found something "
            "else: move it away; the next one begins anew"
        ) from None
