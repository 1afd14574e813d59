"""Batches of sources into the columns that a study computes, by the study's formulas.

The one place where records meet a formula: training, questions, checks and scoring read through
it, and simulations as training does.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fieldfare.shared.features.derived import Formula


def computed_column(formula: Formula, sources: Sequence[Any]) -> Any:
    """Return an Arrow column of doubles, as a column of numbers would be read.

    Args:
        formula: of the study.
        sources: Arrow columns of doubles, NaN where missing, NULL where there is none.

    Edge cases:
        | sources of a row | column |
        |---|---|
        | one is NULL: text where a number or a time belongs | NULL: the row counts as zero |
        | one is infinite | infinite: the row counts as zero |
        | one is NaN, or the formula has no value for them | NaN: the missing slot |
    """
    none = np.zeros(len(sources[0]), dtype=np.bool_)
    infinite, columns = none.copy(), []
    for source in sources:
        none |= np.asarray(source.is_null().to_numpy(zero_copy_only=False))
        # Contiguous, always: the same elementwise kernel then runs for every unit.
        values = source.to_numpy(zero_copy_only=False)
        columns.append(np.ascontiguousarray(values, dtype=np.float64))
        infinite |= np.isinf(columns[-1])
    found = np.where(infinite, np.inf, formula.values(*columns))
    return pa.array(found, pa.float64(), mask=none, from_pandas=False)
