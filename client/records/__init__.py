"""An institution's own records: read, mapped, checked and encoded on its own machines.

The canonical tables (`canonical_*.py`) are what indicators read and importers write.

Modules that read records are imported on first use: settings, which only say where records are,
need no database engine, and a list of alerts is printed at once.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fieldfare.client.records.encoding.holdout import holdout_mask, split_name
    from fieldfare.client.records.load import LoadCounts, LoadedRecords, read_records, read_sources
    from fieldfare.client.records.settings import RecordsSource
    from fieldfare.client.records.sources.mapping import ColumnMapping, load_mapping
    from fieldfare.client.records.spool import Spool

__all__ = [
    "ColumnMapping",
    "LoadCounts",
    "LoadedRecords",
    "RecordsSource",
    "Spool",
    "holdout_mask",
    "load_mapping",
    "read_records",
    "read_sources",
    "split_name",
]

_WHERE: Final = MappingProxyType(
    {
        "ColumnMapping": "sources.mapping",
        "LoadCounts": "load",
        "LoadedRecords": "load",
        "RecordsSource": "settings",
        "Spool": "spool",
        "holdout_mask": "encoding.holdout",
        "split_name": "encoding.holdout",
        "load_mapping": "sources.mapping",
        "read_records": "load",
        "read_sources": "load",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
