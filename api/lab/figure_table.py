"""Figures as tables: Arrow's, and pandas' where it is installed."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from fieldfare.shared.errors import UsageError


class FigureTable:
    """What has figures in an Arrow table, `to_arrow`."""

    def to_pandas(self: Any) -> Any:
        """Return `to_arrow` as a `pandas.DataFrame`.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas as _  # type: ignore[import-untyped, unused-ignore] # noqa: F401, ICN001, PLC0415
        except ImportError:
            raise UsageError(
                "expected pandas, found none installed; install it, or take .to_arrow()"
            ) from None
        return self.to_arrow().to_pandas()


def table_of(rows: Iterable[Sequence[Any]], names: Sequence[str], *, texts: int) -> Any:
    """Return a `pyarrow.Table`: the first `texts` columns are strings, all others float64."""
    kinds = [pa.string()] * texts + [pa.float64()] * (len(names) - texts)
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    arrays = [pa.array(one, kind) for one, kind in zip(columns, kinds, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(names))
