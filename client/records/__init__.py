"""An institution's own records: read, mapped, checked and encoded on its own machines."""

from fieldfare.client.records.holdout import holdout_mask
from fieldfare.client.records.load import LoadCounts, Records, read_records, read_sources
from fieldfare.client.records.mapping import ColumnMapping, load_mapping
from fieldfare.client.records.settings import RecordsSource

__all__ = [
    "ColumnMapping",
    "LoadCounts",
    "Records",
    "RecordsSource",
    "holdout_mask",
    "load_mapping",
    "read_records",
    "read_sources",
]
