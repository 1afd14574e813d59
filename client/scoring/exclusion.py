"""Groups that an institution excludes from its queue: its own setting, applied at home alone.

An alert can harm whom it is about: survivors in the care of a partner organisation, for one. Units
of such a group are not ranked, are no alerts and stand in no file of alerts. A release never asks:
sums read the records as they are, so no answer to the outside depends on who is excluded.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fieldfare.client.scoring.selection import ExcludedGroup, Members
from fieldfare.client.scoring.units import ScorableUnits


def group_columns(groups: Sequence[ExcludedGroup]) -> tuple[str, ...]:
    """Return the columns that say who is excluded; none twice."""
    return tuple(dict.fromkeys(one.column for one in groups if one.column))


def members_by_column(groups: Sequence[ExcludedGroup], units: ScorableUnits) -> Members:
    """Return the units of each group that a column names, by the group's name.

    Spaces around a value count for nothing: who is in care shall not be alerted for one.

    Args:
        groups: of the institution's settings.
        units: read with `group_columns` as audit columns.
    """
    return {
        one.name: frozenset(
            units.units.filter(
                pc.is_in(
                    pc.utf8_trim_whitespace(units.groups[one.column]),
                    value_set=pa.array(one.levels, pa.string()),
                )
            ).to_pylist()
        )
        for one in groups
        if one.column
    }


def mask_of(units: ScorableUnits, members: frozenset[str]) -> NDArray[np.bool_]:
    """Return bool (units,): which are among the members."""
    found = pc.is_in(units.units, value_set=pa.array(sorted(members), pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)
